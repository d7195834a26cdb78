"""Reference log-probabilities: what the model said before training, computed once for each answer.

They lie in one safetensors file whose name is the fingerprint of weights, precision, pictures, rendered rows and the
version of transformers, so other epochs, losses, values of β and runs read the same numbers, and any change makes new
ones. Values are kept token
by token, with a checksum a row: a damaged row is computed again. The file is written from time to time: a killed pass
goes on from there. Two processes may fill it at once: each replaces the whole file, with numbers that are equal but for
rounding.
"""

import hashlib
import json
import time
import zlib
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path

import torch
import transformers
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from spavl.errors import UserError
from spavl.store.files import write_atomically
from spavl.train.logprobs import AnswerLogprobs, pair_logprobs
from spavl.train.loss_formulas import PairLogprobs
from spavl.train.parallel import ALONE, Processes
from spavl.train.render import Row
from spavl.train.tree import PackedTrees

SAVE_INTERVAL_S = 30.0
"""Seconds between two writes of the file while it is filled."""
_UNKNOWN = -1
"""In place of the checksum of a row that has no numbers yet; no CRC-32 is negative."""
Run = Callable[[PackedTrees], AnswerLogprobs]
"""Runs a packed row through the untrained model."""


def reference_fingerprint(model: str, dtype: str, rows: Sequence[Row], pictures: Sequence[str]) -> str:
    """Returns the SHA-256 of everything that decides reference log-probabilities.

    How rows are packed is not part of it: it changes the last bits of a sum, and nothing else.

    Args:
        model: SHA-256 of the model's folder, processor and all.
        dtype: Precision the weights are used in.
        rows: The rendered rows: data, tokenizer and chat template in one.
        pictures: SHA-256 of each row's picture.
    """
    made_from = [transformers.__version__, model, dtype, rows, pictures]
    return hashlib.sha256(json.dumps(made_from).encode()).hexdigest()


class ReferenceStore:
    """The reference log-probabilities of a list of rows.

    Args:
        folder: Where the files of all fingerprints lie.
        fingerprint: What the numbers depend on (`reference_fingerprint`).
        rows: The rendered rows.

    Raises:
        UserError: The file of this fingerprint says that it belongs to another.
    """

    def __init__(self, folder: Path, fingerprint: str, rows: Sequence[Row]) -> None:
        self.path = folder / f"{fingerprint}.safetensors"
        self._fingerprint = fingerprint
        self._lengths = [[len(answer) for answer in row.answers] for row in rows]
        self._starts = [0, *accumulate(sum(lengths) for lengths in self._lengths)]
        self._per_token, self._crc32 = self._read()

    def missing(self) -> list[int]:
        """Returns the rows that have no numbers yet."""
        return (self._crc32 == _UNKNOWN).nonzero().flatten().tolist()

    def answers(self, row: int) -> tuple[Tensor, ...]:
        """Returns log π_ref of every token of a row's answers, one float32 tensor an answer."""
        return torch.split(self._per_token[self._place(row)], self._lengths[row])

    def pair_logprobs(self, rows: Sequence[int]) -> PairLogprobs:
        """Returns the summed log-probabilities of both answers of these rows."""
        return pair_logprobs({row: [answer.sum() for answer in self.answers(row)] for row in rows}, rows)

    def fill(self, batches: Sequence[PackedTrees], run: Run, processes: Processes = ALONE) -> None:
        """Runs the packed rows that hold a missing row, each process one at a time, and writes what came out.

        Raises:
            RunError: The disk is full or the folder may not be written.
        """
        saved = time.monotonic()
        unknown, rows = set(self.missing()), len(self._lengths)
        missing = [packed for packed in batches if not unknown.isdisjoint(packed.rows)]
        with processes.progress("reference", rows, rows - len(unknown)) as advance, torch.no_grad():
            for start in range(0, len(missing), processes.number):
                turn = missing[start : start + processes.number]
                mine = turn[min(processes.rank, len(turn) - 1)]  # a pass may be a meeting, so none stays out
                answers = [tokens.float().cpu() for tokens in run(mine).split()]
                for packed, found in zip(turn, processes.gather(answers), strict=False):
                    self._keep(packed, found)
                    advance(len(packed.rows))
                if processes.is_main and time.monotonic() - saved > SAVE_INTERVAL_S:
                    self._write()
                    saved = time.monotonic()
        if processes.is_main:
            self._write()

    def _keep(self, packed: PackedTrees, answers: Sequence[Tensor]) -> None:
        for row, places in zip(packed.rows, packed.row_answers, strict=True):
            self._per_token[self._place(row)] = torch.cat([answers[place] for place in places])
            self._crc32[row] = _checksum(self._per_token[self._place(row)])

    def _place(self, row: int) -> slice:
        return slice(self._starts[row], self._starts[row + 1])

    def _write(self) -> None:
        tensors = {"per_token": self._per_token, "crc32": self._crc32}
        write_atomically(self.path, save(tensors, metadata={"fingerprint": self._fingerprint}))

    def _read(self) -> tuple[Tensor, Tensor]:
        """Returns what the file knows; unknown values are NaN, so that they can never pass for numbers."""
        unknown = torch.full((self._starts[-1],), torch.nan), torch.full((len(self._lengths),), _UNKNOWN)
        if not self.path.exists():
            return unknown
        try:
            with safe_open(self.path, framework="pt") as file:
                owner = (file.metadata() or {}).get("fingerprint")
                per_token, crc32 = file.get_tensor("per_token"), file.get_tensor("crc32")
        except SafetensorError:
            return unknown  # nothing is lost: the numbers are computed again
        if owner != self._fingerprint or (per_token.shape, crc32.shape) != (unknown[0].shape, unknown[1].shape):
            raise UserError(f"{self.path} holds the numbers of other data or another model. Remove it and start again.")
        for row in range(len(self._lengths)):
            place = self._place(row)
            if crc32[row] != _checksum(per_token[place]):
                per_token[place], crc32[row] = torch.nan, _UNKNOWN
        return per_token, crc32


def _checksum(per_token: Tensor) -> int:
    return zlib.crc32(per_token.numpy().data)
