"""What is logged of a step: means over its batch's pairs, however it was cut into passes and dealt to processes.

Pairs stand as the losses read them: where SafeDPO has put one in order of safety, the chosen answer is the safe one;
what it leaves out has the loss 0, and is in no other mean.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from spavl.config import TrainConfig
from spavl.train.losses import PairLosses, RewardShift

LENGTH_BUCKETS = {"shorter": (0.0, 0.8), "alike": (0.8, 1.25), "longer": (1.25, float("inf"))}
"""Chosen tokens divided by rejected tokens: a margin that grows in one bucket alone has learnt length."""


class BatchMetrics(NamedTuple):
    """Means over the pairs of a batch, before its update; None where all of them were left out."""

    loss: float
    """The weighted sum of the losses, over all pairs."""
    terms: dict[str, float]
    """Kind -> the loss before its weight, over all pairs."""
    reward_margin: float | None
    """Chosen minus rejected reward, in nats times β."""
    margins_by_length: dict[str, float | None]
    """Chosen answer `shorter` than the rejected one, `alike` or `longer` -> reward margin; None without such pairs."""
    pairs_by_length: dict[str, int]
    """The same -> pairs of the batch."""
    accuracy: float | None
    """Share of pairs whose chosen reward is the greater one."""
    chosen_logprob: float | None
    """Nats an answer."""
    rejected_logprob: float | None
    """Nats an answer."""
    chosen_shift: float | None
    """Chosen log-probability minus the reference's: below zero, the preferred answers are becoming less likely."""
    tokens: int
    """Tokens that passed the language model."""
    row_tokens: int
    """Tokens that would have passed it with a row for every answer."""


class StepFigures(NamedTuple):
    """What one process found out about its pairs of a batch."""

    losses: dict[str, Tensor]
    """Kind -> (B,), each loss before its weight; under `""` their weighted sum."""
    columns: Tensor  # (6, K), of the pairs that were not left out; `_columns` says what they are
    tokens: int
    """Tokens that passed the language model."""
    shift: RewardShift | None

    @classmethod
    def nothing(cls, config: TrainConfig, shift: RewardShift | None) -> "StepFigures":
        """Returns what is found before the first pass."""
        none = torch.empty(0, dtype=torch.float64)
        losses = dict.fromkeys(("", *(loss.kind for loss in config.loss)), none)
        return cls(losses, none.expand(6, 0), 0, shift.fresh() if shift else None)

    def plus(self, losses: PairLosses, tokens: int) -> "StepFigures":
        """Returns it with the pairs of one more pass."""
        found = {"": losses.loss.detach(), **losses.terms}
        return StepFigures(
            losses=_joined([self.losses, {kind: one.double().cpu() for kind, one in found.items()}]),
            columns=torch.cat([self.columns, _columns(losses).double().cpu()], dim=1),
            tokens=self.tokens + tokens,
            shift=losses.shift,
        )


def batch_metrics(parts: Sequence[StepFigures], row_tokens: int) -> BatchMetrics:
    """Returns the means over what all processes found.

    Args:
        parts: What each of them found.
        row_tokens: Tokens of the batch with a row for every answer.
    """
    losses = {kind: float(one.mean()) for kind, one in _joined(part.losses for part in parts).items()}
    chosen, rejected, margin, shift, ratio, ahead = torch.cat([part.columns for part in parts], dim=1)  # (K,) each
    by_length, counts = margins_by_length(margin, ratio)
    return BatchMetrics(
        loss=losses.pop(""),
        terms=losses,
        reward_margin=_mean(margin),
        margins_by_length=by_length,
        pairs_by_length=counts,
        accuracy=_mean(ahead),
        chosen_logprob=_mean(chosen),
        rejected_logprob=_mean(rejected),
        chosen_shift=None if shift.isnan().any() else _mean(shift),
        tokens=sum(part.tokens for part in parts),
        row_tokens=row_tokens,
    )


def margins_by_length(margin: Tensor, ratio: Tensor) -> tuple[dict[str, float | None], dict[str, int]]:
    """Returns the mean margin of the pairs of each of `LENGTH_BUCKETS`, None where there are none, and their number.

    Args:
        margin: (B,).
        ratio: Chosen over rejected length, (B,).
    """
    by_length = {name: margin[(low <= ratio) & (ratio < high)] for name, (low, high) in LENGTH_BUCKETS.items()}
    return {name: _mean(some) for name, some in by_length.items()}, {
        name: len(some) for name, some in by_length.items()
    }


def _columns(losses: PairLosses) -> Tensor:
    """Returns (6, K): both log-probabilities, margin, chosen shift, chosen over rejected length, 1 where ahead."""
    read = losses.read
    chosen, rejected = read.policy
    margin = losses.chosen_reward - losses.rejected_reward
    shift = chosen - read.reference.chosen if read.reference else torch.full_like(chosen, torch.nan)
    ratio, ahead = read.lengths.chosen / read.lengths.rejected, margin > 0
    return torch.stack([chosen, rejected, margin, shift, ratio.to(chosen), ahead.to(chosen)]).detach()[:, losses.kept]


def _joined(parts: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Joins the pairs of several parts, kind by kind."""
    whole = list(parts)
    return {kind: torch.cat([part[kind] for part in whole]) for kind in whole[0]}


def _mean(values: Tensor) -> float | None:
    return float(values.mean()) if len(values) else None
