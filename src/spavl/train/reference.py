"""Reference log-probabilities: what the model said before training, computed once for each pair.

They lie in one safetensors file whose fingerprint covers weights, precision, data and rendering, so a resumed run
reads them, and any change makes them anew. The file is written every few groups: a killed pass goes on from there.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from spavl.execution import progress_bar
from spavl.store.files import write_atomically
from spavl.train.logprobs import Features, length_sorted_groups, pair_logprobs
from spavl.train.losses import PairLogprobs
from spavl.train.policy import Policy
from spavl.train.render import Row

SAVE_EVERY = 50
"""Groups between two writes of the file."""


def reference_fingerprint(model: str, dtype: str, group_size: int, rows: Sequence[Row]) -> str:
    """Returns the SHA-256 of everything that decides reference log-probabilities.

    Args:
        model: SHA-256 of the model's weights.
        dtype: Precision they are used in.
        group_size: Pairs of one forward; it decides the order in which numbers are added up.
        rows: The rendered pairs: data, tokenizer and chat template in one.
    """
    return hashlib.sha256(json.dumps([model, dtype, group_size, rows]).encode()).hexdigest()


def reference_logprobs(
    path: Path, fingerprint: str, policy: Policy, rows: Sequence[Row], features: Features, group_size: int
) -> PairLogprobs:
    """Reads the reference log-probabilities, and computes those that the file does not hold.

    Args:
        path: The safetensors file.
        fingerprint: What the numbers depend on (`reference_fingerprint`).
        policy: The model; its adapters are switched off here.
        rows: The rendered pairs.
        features: Image id -> projected picture.
        group_size: Pairs of one forward.

    Raises:
        RunError: The disk is full.
    """
    chosen, rejected, known = _read(path, fingerprint, len(rows))

    def write() -> None:
        tensors = {"chosen": chosen, "rejected": rejected, "known": known}
        write_atomically(path, save(tensors, metadata={"fingerprint": fingerprint}))

    if bool(known.all()):
        return PairLogprobs(chosen, rejected)
    groups = length_sorted_groups(rows, range(len(rows)), group_size)
    with progress_bar("reference", len(rows), int(known.sum())) as advance, policy.as_reference() as model:
        for number, group in enumerate(groups, start=1):
            if bool(known[group].all()):
                continue
            logprobs = pair_logprobs(model, [rows[index] for index in group], features)
            chosen[group], rejected[group] = logprobs.chosen.float().cpu(), logprobs.rejected.float().cpu()
            known[group] = True
            advance(len(group))
            if number % SAVE_EVERY == 0:
                write()
    write()
    return PairLogprobs(chosen, rejected)


def _read(path: Path, fingerprint: str, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Returns what the file knows; unknown values are NaN, so that they can never pass for numbers."""
    try:
        with safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get("fingerprint") == fingerprint:
                return file.get_tensor("chosen"), file.get_tensor("rejected"), file.get_tensor("known")
    except (FileNotFoundError, SafetensorError):
        pass  # nothing is lost: the numbers are computed again
    unknown = torch.full((count,), torch.nan)
    return unknown.clone(), unknown.clone(), torch.zeros(count, dtype=torch.bool)
