"""A measured rate and a paired change, as every table of an evaluation has them.

What could not be scored is in no rate; the bounds say what it could have changed. A rate of nothing is `None`, never 0.
Samples of one cluster rise and fall together: there an interval draws whole clusters (bootstrap); where each stands
alone and the scores are events it is Wilson's.
"""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from spavl.stats import NotMeasured, cluster_bootstrap_rate, sign_flip_exact, wilson
from spavl.stats.bootstrap import Resampling, bootstrap_mean
from spavl.stats.rates import Interval

FEW_UNITS = 15
"""Clusters below which an interval rests on its correction for few: drawing 10 again covers the truth in 88 %."""


class MeasuredRate(BaseModel):
    """A rate with its interval, and the bounds that unscored items leave."""

    model_config = ConfigDict(frozen=True)

    value: float | None
    n: int
    low: float | None
    high: float | None
    unscored: int
    lowest: float | None
    """The rate if no unscored item were an event."""
    highest: float | None
    """The rate if every unscored item were an event."""
    few_units: bool = False
    """Whether the interval is of fewer than `FEW_UNITS` clusters."""


class Change(BaseModel):
    """After minus before on the samples that were scored both times."""

    model_config = ConfigDict(frozen=True)

    value: float
    n: int
    low: float
    high: float
    before_only: int
    """Samples with the event before and not after; of scores with parts of a point, those that fell."""
    after_only: int
    """Samples with the event after and not before, or whose score rose."""
    p_value: float
    """Exact sign-flip test by whole clusters (McNemar's where each sample stands alone), adjusted over the metrics."""
    few_units: bool = False
    """Whether the interval is of fewer than `FEW_UNITS` clusters."""


def measured_rate(scores: Sequence[float], clusters: Sequence[str], unscored: int, confidence: float) -> MeasuredRate:
    """Returns the mean of scores from 0 to 1, with its interval and bounds."""
    total, items = sum(scores), len(scores) + unscored
    alone = len(set(clusters)) == len(clusters) and {*scores} <= {0, 1}
    try:
        if alone:
            rate = wilson(int(total), len(scores), confidence)
        else:
            rate = cluster_bootstrap_rate(scores, clusters, confidence)
    except NotMeasured:
        return MeasuredRate(value=None, n=0, low=None, high=None, unscored=unscored, lowest=None, highest=None)
    return MeasuredRate(
        **rate._asdict(),
        unscored=unscored,
        lowest=total / items,
        highest=(total + unscored) / items,
        few_units=not alone and len(set(clusters)) < FEW_UNITS,
    )


def measured_change(
    before: Sequence[float], after: Sequence[float], clusters: Sequence[str], confidence: float
) -> Change | None:
    """Returns the change of scores on the same samples; None where there are none. Its p value is not adjusted.

    The test asks of the clusters that changed whether they fell as far as they rose; for events alone it is McNemar's.
    """
    if not before:
        return None
    differences = [float(new) - float(old) for old, new in zip(before, after, strict=True)]
    low, high = bootstrap_mean(differences, clusters, Interval(-1, 1), Resampling(confidence))
    fell, rose = sum(one < 0 for one in differences), sum(one > 0 for one in differences)
    return Change(
        value=sum(differences) / len(differences),
        n=len(differences),
        low=low,
        high=high,
        before_only=fell,
        after_only=rose,
        p_value=sign_flip_exact(differences, clusters),
        few_units=len(set(clusters)) < FEW_UNITS,
    )
