"""Judges: who says whether an answer is safe, and which of two answers is better."""

import hashlib
from pathlib import Path
from typing import Protocol

from spavl.config import EmbeddedJudgeConfig, JudgeConfig
from spavl.judges.base import (
    Contest,
    Exchange,
    JudgeCard,
    MeasuredRate,
    Measurement,
    Opinion,
    PairwiseJudge,
    Preference,
    SafetyJudge,
)
from spavl.judges.embedded import EmbeddedJudge
from spavl.judges.rubric import RubricJudge
from spavl.models.call_store import StoredModel

__all__ = [
    "Contest",
    "EmbeddedJudge",
    "Exchange",
    "Judge",
    "JudgeCard",
    "MeasuredRate",
    "Measurement",
    "Opinion",
    "PairwiseJudge",
    "Preference",
    "RubricJudge",
    "SafetyJudge",
    "judge_fingerprint",
    "open_judge",
]


class ModelsByName(Protocol):
    """Anything that gives a model for its name."""

    def __getitem__(self, name: str) -> StoredModel:
        """Returns the model of that name."""


class Judge(SafetyJudge, PairwiseJudge, Protocol):
    """Both faces: labels answers and compares them."""


def judge_fingerprint(config: JudgeConfig) -> str:
    """Returns a digest of the files that decide what a judge says: its rules and weights, or its rubrics."""
    folder = Path(__file__).parent
    pattern = (
        ("acts.py", "refusal.py", "head.*", "embedded.py")
        if config.kind == "embedded"
        else ("rubric*.py", "rubrics/*.md")
    )
    files = sorted(path for one in pattern for path in folder.glob(one))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def open_judge(config: JudgeConfig, models: ModelsByName) -> Judge:
    """Opens the judge a configuration asks for.

    Args:
        config: The judge's configuration, already checked against the names of `models`.
        models: Name -> model, for a judge that is a model.

    Raises:
        UserError: The embedded judge's packages are not installed.
    """
    if isinstance(config, EmbeddedJudgeConfig):
        return EmbeddedJudge()
    return RubricJudge(models[config.model], config.model, config.max_tokens)
