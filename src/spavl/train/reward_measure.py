"""What a reward model is worth on pairs that it has not learnt from: accuracy, calibration, its taste for length.

Pure: scores in, figures out. A pair with equal scores is no right one. Where there is nothing to measure a figure is
None, never 0.
"""

import math
import statistics
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from spavl.stats import Rate, calibration, cluster_bootstrap_rate, wilson
from spavl.train.batch_metrics import LENGTH_BUCKETS


class PairScores(BaseModel):
    """The scores of a pair's answers; a line of `held_out.jsonl`."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    pair_id: str
    image_id: str
    question_type: str | None
    chosen: float
    rejected: float
    chosen_tokens: int
    rejected_tokens: int
    chosen_verdict: str | None
    rejected_verdict: str | None
    chosen_cost: float | None = None
    rejected_cost: float | None = None

    @property
    def length_ratio(self) -> float:
        """Preferred answer's tokens over the other's."""
        return self.chosen_tokens / self.rejected_tokens

    @property
    def right(self) -> bool:
        """Whether the preferred answer has the greater score."""
        return self.chosen > self.rejected


class ShareRight(BaseModel):
    """A share with Wilson's 95 % interval."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    value: float
    n: int
    low: float
    high: float


class ReliabilityBin(BaseModel):
    """Pairs that were told apart with about the same confidence."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    confidence: float
    right: ShareRight


class RewardFigures(BaseModel):
    """What a reward model is worth on pairs it has not learnt from."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    pairs: int
    pictures: int
    accuracy: ShareRight
    """Share of pairs whose preferred answer has the greater score; the interval takes pairs for independent."""
    accuracy_by_picture: ShareRight
    """The same; the interval is that of whole pictures drawn again."""
    accuracy_by_type: dict[str, ShareRight | None]
    """Question type -> accuracy."""
    accuracy_by_length: dict[str, ShareRight | None]
    """Preferred answer `shorter` than the other, `alike` or `longer` -> accuracy."""
    shorter_is_better: ShareRight | None
    """What preferring the answer with fewer tokens alone would be right in; pairs of equal length are left out."""
    length_correlation: float | None
    """Pearson's, of score difference and length difference, each pair in both orders. Where preferred answers are the
    shorter ones it is below 0 for a right model too: read it beside `shorter_is_better` and `accuracy_by_length`."""
    calibration_error: float
    """Expected calibration error of σ(score difference)."""
    reliability: list[ReliabilityBin]
    mean_score: float
    score_deviation: float
    mean_margin: float
    cost_sign: ShareRight | None = None
    """Share of answers with a label whose cost is above 0 where it is unsafe and below where it is safe."""


def reward_figures(scores: Sequence[PairScores]) -> RewardFigures | None:
    """Returns the figures, or None where there are no pairs."""
    if not scores:
        return None
    margins = [one.chosen - one.rejected for one in scores]
    everything = [score for one in scores for score in (one.chosen, one.rejected)]
    right, pictures = [one.right for one in scores], [one.image_id for one in scores]
    calibrated = calibration([_sigmoid(abs(margin)) for margin in margins], right)
    types = [one.question_type or "unknown" for one in scores]
    unequal = [one.chosen_tokens - one.rejected_tokens for one in scores if one.chosen_tokens != one.rejected_tokens]
    return RewardFigures(
        pairs=len(scores),
        pictures=len(set(pictures)),
        accuracy=_share(wilson(sum(right), len(right))),
        accuracy_by_picture=_share(cluster_bootstrap_rate(list(map(float, right)), pictures)),
        accuracy_by_type={name: _among(right, [one == name for one in types]) for name in sorted(set(types))},
        accuracy_by_length={
            name: _among(right, [low <= one.length_ratio < high for one in scores])
            for name, (low, high) in LENGTH_BUCKETS.items()
        },
        shorter_is_better=_among([length < 0 for length in unequal], [True] * len(unequal)),
        length_correlation=_length_correlation(scores),
        calibration_error=calibrated.error,
        reliability=[ReliabilityBin(confidence=one.confidence, right=_share(one.right)) for one in calibrated.bins],
        mean_score=statistics.fmean(everything),
        score_deviation=statistics.pstdev(everything),
        mean_margin=statistics.fmean(margins),
        cost_sign=_cost_sign(scores),
    )


def _among(right: Sequence[bool], members: Sequence[bool]) -> ShareRight | None:
    """Returns the share of right ones among some, or None if there are none."""
    some = [one for one, member in zip(right, members, strict=True) if member]
    return _share(wilson(sum(some), len(some))) if some else None


def _share(rate: Rate) -> ShareRight:
    return ShareRight(**rate._asdict())


def _sigmoid(difference: float) -> float:
    return 1 / (1 + math.exp(-difference))


def _length_correlation(scores: Sequence[PairScores]) -> float | None:
    """Returns Σ Δs Δl / √(Σ Δs² Σ Δl²), Pearson's where each pair stands in both orders, so that both means are 0."""
    margins = [one.chosen - one.rejected for one in scores]
    lengths = [one.chosen_tokens - one.rejected_tokens for one in scores]
    spread = math.sqrt(math.fsum(one**2 for one in margins) * math.fsum(one**2 for one in lengths))
    return math.fsum(a * b for a, b in zip(margins, lengths, strict=True)) / spread if spread else None


def _cost_sign(scores: Sequence[PairScores]) -> ShareRight | None:
    sides = [
        side
        for one in scores
        for side in ((one.chosen_cost, one.chosen_verdict), (one.rejected_cost, one.rejected_verdict))
    ]
    right = [(cost > 0) == (verdict == "unsafe") for cost, verdict in sides if cost is not None and verdict is not None]
    return _among(right, [True] * len(right))
