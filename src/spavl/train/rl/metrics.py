"""The log of reinforcement learning, one JSON line a round, and the alarms that are raised on it.

An alarm is a fact about the last rounds that a person should look at; none of them stops a training. Which are raised
is in every line, and each is said aloud once.
"""

import logging
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, PositiveInt

from spavl.judges.refusal import Reading, read
from spavl.records import Failure
from spavl.train.rl.experience import Known, Worth
from spavl.train.rl.rollouts import Rollout, Score
from spavl.train.rl.update import UpdateFigures
from spavl.train.step_lines import StepLines

WINDOW = 5
"""Rounds whose mean an alarm looks at."""
Line = Mapping[str, Any]
_log = logging.getLogger(__name__)


class _Line(BaseModel):
    """What is read of a line when training goes on."""

    model_config = ConfigDict(strict=True)

    step: PositiveInt
    alarms: list[str]


def answer_figures(rollouts: Sequence[Rollout], scores: Mapping[str, Sequence[Score]]) -> dict[str, Any]:
    """Returns what is logged of a round's answers; a rate without answers to take it of is None.

    Whether an answer declines is said by rules (`judges.refusal`), whatever gives the rewards.
    """
    refused = [read(one.text)[0] is Reading.FULL_REFUSAL for one in rollouts]
    kinds = {"harmful": True, "benign": False}
    by_kind = {
        f"refused_{name}": _mean([no for no, one in zip(refused, rollouts, strict=True) if one.harmful is kind])
        for name, kind in kinds.items()
    }
    numbers = {name: [one for one in found if not isinstance(one, Failure)] for name, found in scores.items()}
    return {
        "answers": len(rollouts),
        "answers_harmful": sum(one.harmful for one in rollouts),
        "scores": {name: _mean(found) for name, found in numbers.items()},
        "unscored": {name: len(rollouts) - len(found) for name, found in numbers.items()},
        "length": _mean([len(one.tokens) for one in rollouts]),
        "ended": _mean([one.ended for one in rollouts]),
        "different": len({(one.prompt, one.tokens) for one in rollouts}),
        **by_kind,
    }


def learning_figures(known: Known, worth: Worth, rewards: Sequence[float], done: UpdateFigures) -> dict[str, Any]:
    """Returns what is logged of what was learnt of a round.

    `kl` is k1 and `kl3` k3, in nats an answer; `surprise` is the mean of -log π of the tokens that were drawn, an
    estimate of the policy's entropy in nats a token.
    """
    real, gap = known.real, torch.where(known.real, known.policy - known.reference, 0.0)
    return {
        "reward": _mean(rewards),
        "kl": float(known.divergence().mean()),
        "kl3": float(torch.where(real, torch.expm1(-gap) + gap, 0.0).sum(dim=1).mean()),
        "surprise": float(-known.policy[real].mean()),
        "explained_variance": {
            name: _explained(returns[real], known.values[name][real])
            for name, returns in worth.returns.items()
            if name in known.values
        },
        "policy_loss": _mean(done.policy_losses),
        "value_loss": _mean(done.value_losses) if known.values else None,
        "imitation_loss": _mean(done.imitation_losses),
        "clipped": _mean(done.clipped),
        "moved": done.moved[-1] if done.moved else None,
        "grad_norm": _mean(done.norms),
        "steps": done.steps,
        "stopped_early": done.stopped,
        "tokens": done.tokens,
        "row_tokens": done.row_tokens,
        "scoring_tokens": known.tokens,
    }


def _explained(returns: torch.Tensor, values: torch.Tensor) -> float | None:
    """Returns 1 - Var(R - V) / Var(R), the part that the critic knew; None if there is no variance."""
    spread = float(returns.var(correction=0))
    return 1 - float((returns - values).var(correction=0)) / spread if spread > 0 else None


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def _recent(lines: Sequence[Line], name: str) -> float | None:
    """Returns the mean of a figure over the last rounds; None where one of them has none, or they are too few."""
    found = [line[name] for line in lines[-WINDOW:] if line.get(name) is not None]
    return None if len(found) < WINDOW else statistics.fmean(found)


def _above(name: str, limit: float) -> Callable[[Sequence[Line]], bool]:
    def raised(lines: Sequence[Line]) -> bool:
        recent = _recent(lines, name)
        return recent is not None and recent > limit

    return raised


def _critic_lost(lines: Sequence[Line]) -> bool:
    found = [line["explained_variance"].get("reward") for line in lines[-WINDOW:]]
    return len(found) == WINDOW and all(one is not None and one <= 0 for one in found)


def _length_ran_off(lines: Sequence[Line]) -> bool:
    first, recent = lines[0]["length"], _recent(lines, "length")
    return bool(first and recent and not 0.5 < recent / first < 2)


def _few_end(lines: Sequence[Line]) -> bool:
    recent = _recent(lines, "ended")
    return recent is not None and recent < 0.5


def _refuses_benign(lines: Sequence[Line]) -> bool:
    known = [line["refused_benign"] for line in lines if line["refused_benign"] is not None]
    return len(known) > WINDOW and statistics.fmean(known[-WINDOW:]) > known[0] + 0.2


ALARMS: Mapping[str, tuple[Callable[[Sequence[Line]], bool], str]] = MappingProxyType(
    {
        "kl": (_above("kl", 25.0), "the policy is more than 25 nats an answer from the reference; raise kl.weight"),
        "clipped": (
            _above("clipped", 0.3),
            "more than 30 % of tokens are clipped; lower learning_rate or inner_epochs",
        ),
        "limit": (
            _above("limited", 0.5),
            "most rewards are cut to reward_limit, where they are all the same; set centre_rewards and scale_rewards",
        ),
        "critic": (_critic_lost, "the critic knows no more than a constant would; raise critic.learning_rate"),
        "length": (_length_ran_off, "answers are half or twice as long as at first; look at them for reward hacking"),
        "ending": (_few_end, "most answers do not end; raise max_tokens or no_end_penalty"),
        "refusals": (_refuses_benign, "benign questions are declined 20 points more often; give refusing a price"),
    }
)
"""Alarm -> whether it is raised on the rounds so far, and what is said."""


class RlLog:
    """The lines of `metrics.jsonl`.

    Args:
        path: The file.
        done: The round training goes on from; later lines, and a line torn by a crash, are removed.

    Raises:
        RunError: A line is none that spavl wrote, or the disk is full.
    """

    def __init__(self, path: Path, done: int) -> None:
        self._written = StepLines(path, done, _Line)
        self.reached = self._written.reached
        self.lines: list[Line] = list(self._written.kept)

    def append(self, line: Line) -> dict[str, Any]:
        """Adds a round's line with its alarms, and returns it so.

        Raises:
            RunError: The disk is full.
        """
        rounds = [*self.lines, line]
        raised = [name for name, (check, _) in ALARMS.items() if check(rounds)]
        for name in raised:
            if not any(name in before["alarms"] for before in self.lines):
                _log.warning("round %d: %s.", line["step"], ALARMS[name][1])
        written = {**line, "alarms": raised}
        self._written.append(written)
        self.lines.append(written)
        return written

    @property
    def alarms(self) -> dict[str, int]:
        """Alarm -> rounds in which it was raised."""
        return {name: sum(name in line["alarms"] for line in self.lines) for name in ALARMS}


def shown_figures(line: Line) -> dict[str, str]:
    """Returns what of a round's line is shown beside the progress."""
    shown = {"reward": line["reward"], "KL": line["kl"], "length": line["length"], "ended": line["ended"]}
    shown |= {"declined": line["refused_harmful"], "benign declined": line["refused_benign"]}
    told = {name: f"{value:.3g}" for name, value in shown.items() if value is not None}
    return told | ({"alarm": ", ".join(line["alarms"])} if line["alarms"] else {})
