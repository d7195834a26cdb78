"""What one process is told and what it answers, as one line of JSON each, and what both systems share.

The clock is read where answers are rewarded, which both systems do once a step: from one reading to the next is one
whole step, the update that follows the rewards and the generation and scoring that lead to the next ones.
"""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

BETA = 0.05
LEARNING_RATE = 2e-4
MAX_GRADIENT_NORM = 1.0
ADAM_EPSILON = 1e-8
_STATUS = Path("/proc/self/status")
_RESET_PEAK = Path("/proc/self/clear_refs")


class Job(NamedTuple):
    """One training run of one system."""

    system: str
    """`spavl` or `trl`."""
    folder: str
    """Where the random weights lie; pictures are written beside them."""
    quick: bool
    prompts: int
    """Prompts of a step, each about a picture of its own that no other step shows."""
    answers: int
    """k, the answers to each prompt."""
    tokens: int
    """Of each answer."""
    steps: int
    rows_at_once: int
    """Answers that TRL passes at once when it scores and updates; it generates all of a step's together."""
    proof: str | None
    """Folder of a proof: TRL leaves its answers there, spavl learns from them in place of its own, and both leave
    their adapters."""

    def to_line(self) -> str:
        """Returns the job as one line."""
        return json.dumps(self._asdict())

    @classmethod
    def from_line(cls, line: str) -> "Job":
        """Reads a line that `to_line` wrote."""
        return cls(**json.loads(line))

    @property
    def trained_on(self) -> Path:
        """The answers of a proof."""
        return Path(str(self.proof)) / "answers.json"

    @property
    def adapters(self) -> Path:
        """What a proof's run ended with."""
        return Path(str(self.proof)) / f"{self.system}.safetensors"


class Found(NamedTuple):
    """What one run came to; lists have an entry for each whole step but the first, which warms up."""

    seconds: list[float]
    """CPU seconds of the process."""
    generating: list[float]
    """Those of them that went into generation."""
    tokens: list[int]
    """Tokens that entered the language model."""
    peak_bytes: int
    """Most memory, less what the loaded model took."""
    norms: list[float]
    """Of every step's gradient, in TRL's unit, before it is clipped."""

    def to_line(self) -> str:
        """Returns it as one line."""
        return json.dumps(self._asdict())

    @classmethod
    def from_line(cls, line: str) -> "Found":
        """Reads a line that `to_line` wrote."""
        return cls(**json.loads(line))


class Meter:
    """Watches one training run; made when the model is loaded.

    Args:
        language: The language model, whose tokens are counted.
    """

    def __init__(self, language: nn.Module) -> None:
        language.register_forward_pre_hook(self._see, with_kwargs=True)
        _RESET_PEAK.write_text("5")  # sets VmHWM back to VmRSS
        self._before = _memory("VmRSS:")
        self._tokens, self._generating = 0, 0.0
        self._marks: list[tuple[float, float, int]] = []

    def rewarded(self) -> None:
        """Notes that a step's answers are rewarded."""
        self._marks.append((time.process_time(), self._generating, self._tokens))

    @contextmanager
    def generation(self) -> Iterator[None]:
        """Counts the block's time as generation."""
        started = time.process_time()
        yield
        self._generating += time.process_time() - started

    def found(self, norms: Sequence[float]) -> Found:
        """Returns what was measured."""
        steps = [tuple(b - a for a, b in zip(before, after, strict=True)) for before, after in pairwise(self._marks)]
        seconds, generating, tokens = (list(column) for column in zip(*steps[1:], strict=True))
        return Found(seconds, generating, tokens, _memory("VmHWM:") - self._before, list(norms))

    def _see(self, _: object, __: object, options: dict[str, Any]) -> None:
        given = options["inputs_embeds"] if options.get("inputs_embeds") is not None else options["input_ids"]
        self._tokens += given.shape[0] * given.shape[1]


def reward(tokens: Sequence[int]) -> float:
    """Returns what an answer is worth: the share of its tokens that have an even id."""
    return sum(token % 2 == 0 for token in tokens) / len(tokens)


def seed_adapters(model: nn.Module) -> None:
    """Draws the adapters anew, in the order of their names, so that the policy is not its reference from the start."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in sorted(model.named_parameters()):
        if "lora_" in name:
            parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.02)


def _memory(field: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024  # kB
