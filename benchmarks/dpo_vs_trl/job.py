"""What one process is told and what it answers, as one line of JSON each."""

import json
from typing import NamedTuple

from benchmarks.dpo_vs_trl.meter import Mark

BETA = 0.1
LEARNING_RATE, LORA_LEARNING_RATE = 1e-6, 2e-5
MAX_GRADIENT_NORM = 1.0
LORA_RANK = 16
LORA_TARGETS = r".*\.(language_model|text_model)\.layers\..*(q|k|v|o|gate|up|down)_proj"
"""The same for both systems; what is left unsaid has torch's and peft's defaults."""


class Job(NamedTuple):
    """One training run of one system."""

    system: str
    """`spavl`, `trl_default`, `trl_tuned` or `trl_split`."""
    shape: str
    folder: str
    """Where the random weights lie; pictures are written beside them."""
    questions_per_image: int
    epochs: int
    pairs: int
    """Pairs of an epoch."""
    step_pairs: int
    """Pairs of an optimiser step."""
    quick: bool
    layers: int | None
    device: str
    dtype: str
    lora: bool
    spread: bool
    """Whether answers' lengths vary as those of people's data do."""
    flex: bool
    """Whether FlexAttention computes our attention (CUDA)."""
    count_flops: bool

    @property
    def learning_rate(self) -> float:
        """Small enough to be usual, large enough for the second step's loss to tell something."""
        return LORA_LEARNING_RATE if self.lora else LEARNING_RATE

    @property
    def pairs_at_once(self) -> int:
        """Pairs that TRL runs at once."""
        return 1 if self.system == "trl_split" else self.step_pairs

    def to_line(self) -> str:
        """Returns the job as one line."""
        return json.dumps(self._asdict())

    @classmethod
    def from_line(cls, line: str) -> "Job":
        """Reads a line that `to_line` wrote."""
        return cls(**json.loads(line))


def marks_to_line(marks: list[Mark]) -> str:
    """Returns a run's marks as one line."""
    return json.dumps([mark._asdict() for mark in marks])


def marks_from_line(line: str) -> list[Mark]:
    """Reads a line that `marks_to_line` wrote."""
    return [Mark(**mark) for mark in json.loads(line)]
