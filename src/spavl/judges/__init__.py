"""Judges: who says whether an answer is safe, and which of two answers is better."""

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
    "open_judge",
]


class ModelsByName(Protocol):
    """Anything that gives a model for its name."""

    def __getitem__(self, name: str) -> StoredModel:
        """Returns the model of that name."""


class Judge(SafetyJudge, PairwiseJudge, Protocol):
    """Both faces: labels answers and compares them."""


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
