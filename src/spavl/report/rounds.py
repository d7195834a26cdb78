"""What is read of a training by rewards: its rounds, and what its reward model is worth."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict


class Round(BaseModel):
    """One line of the log of reinforcement learning: means over a round's answers; None where there is none."""

    model_config = ConfigDict(frozen=True)

    step: int
    reward: float | None
    kl: float | None
    length: float | None
    ended: float | None
    refused_harmful: float | None
    refused_benign: float | None
    scores: Mapping[str, float | None] = {}
    """What is rewarded -> its mean score, before weights and scale."""
    explained_variance: Mapping[str, float | None] = {}
    clipped: float | None = None
    kl_weight: float | None = None
    cost: float | None = None
    cost_weight: float | None = None
    answers: int
    alarms: tuple[str, ...] = ()
    seconds: float

    @property
    def critic(self) -> float | None:
        """Share of the variance of the rewards' returns that the critic explained."""
        return self.explained_variance.get("reward")


class Held(BaseModel):
    """A share with its interval."""

    model_config = ConfigDict(frozen=True)

    value: float
    n: int
    low: float
    high: float


class RewardModel(BaseModel):
    """What the reward model is worth on pairs about pictures it has not learnt from."""

    model_config = ConfigDict(frozen=True)

    pairs: int
    pictures: int
    accuracy: Held
    shorter_is_better: Held | None
    length_correlation: float | None
    calibration_error: float
    accuracy_by_type: Mapping[str, Held | None]
    accuracy_by_length: Mapping[str, Held | None]


def read_rounds(path: Path) -> tuple[Round, ...]:
    """Returns the rounds of a log; none where it is gone."""
    if not path.exists():
        return ()
    return tuple(Round.model_validate(json.loads(line)) for line in path.read_bytes().splitlines())


def reward_model(facts: Mapping[str, Any] | None) -> RewardModel | None:
    """Returns what the reward model's stage noted; None where there is none, or nothing was held out."""
    held = (facts or {}).get("held_out")
    return None if held is None else RewardModel.model_validate(held)
