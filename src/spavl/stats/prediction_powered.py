"""Prediction-powered inference: a judge's reading of every item, put right by people's reading of some.

A judge's errors may change with the model it judges, so that a change it sees may be its own. People's labels on a
uniform random sample of the items tell how far it is off, and the judge's labels on all the rest make the sample go
further (PPI++, Angelopoulos, Duchi and Zrnic 2023, arXiv 2311.01453).
"""

from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from spavl.stats.bootstrap import Clusters
from spavl.stats.rates import Interval, NotMeasured, check_confidence, wilson

Values = npt.NDArray[np.float64]

SHARE = Interval(0, 1)
"""The range of an event's value."""
LEAST_LABELLED = 2
"""Items with people's labels below which nothing can be said about the judge's error."""


class PoweredMean(NamedTuple):
    """A mean over all items, in people's terms."""

    value: float
    n: int
    """Items the judge scored."""
    low: float
    high: float
    labelled: int
    """Items people labelled."""
    tuning: float
    """λ: how much the judge is trusted, from 0 (its labels are of no use) to 1."""
    judged: float
    """The judge's mean over all items, not put right."""


def powered_change(
    judged: Sequence[tuple[bool, bool]],
    labelled: Sequence[tuple[bool, bool] | None],
    clusters: Clusters | None = None,
    confidence: float = 0.95,
) -> PoweredMean:
    """Estimates the change of an event's rate, after minus before, whatever the judge's errors before and after.

    Args:
        judged: For every item, whether the judge saw the event before and after.
        labelled: For every item, whether people saw it before and after; None where nobody looked. Who labels must
            not know which of the two answers came first.
        clusters: The cluster of each item; left out, every item stands alone.
        confidence: Level of the interval.

    Raises:
        NotMeasured: Fewer than two items are labelled.
        ValueError: The sequences differ in length.
    """
    judge = [float(after) - float(before) for before, after in judged]
    people = [None if one is None else float(one[1]) - float(one[0]) for one in labelled]
    return powered_mean(judge, people, Interval(-1, 1), clusters, confidence)


def powered_mean(
    judged: Sequence[float],
    labelled: Sequence[float | None],
    span: Interval = SHARE,
    clusters: Clusters | None = None,
    confidence: float = 0.95,
) -> PoweredMean:
    """Estimates a mean from the judge's values of all items and people's values of some (PPI++, eq. 6 and example 6.1).

        θ = λ mean(f, unlabelled) + mean(y - λ f, labelled)
        λ = cov(y, f) / ((1 + n / N) var(f)), between 0 and 1, for n labelled and N unlabelled items
        var(θ) = λ² var(f) / N + var(y - λ f) / n

    The labelled items have to be a uniform random sample, drawn by whole clusters where there are clusters. Where
    y - λ f is one value in all labelled items, the share of items that may differ is bounded as in `bootstrap_mean`.

    Args:
        judged: f, one value an item.
        labelled: y, one value an item; None where nobody looked.
        span: The range a value can have.
        clusters: The cluster of each item; left out, every item stands alone.
        confidence: Level of the normal interval.

    Raises:
        NotMeasured: Fewer than two items are labelled.
        ValueError: The sequences differ in length, or a value is outside the span.
    """
    _check(judged, labelled, span, clusters)
    check_confidence(confidence)
    known = np.array([value is not None for value in labelled])
    if known.sum() < LEAST_LABELLED:
        raise NotMeasured(f"{known.sum()} items have people's labels: at least {LEAST_LABELLED} are needed")
    f, y = np.asarray(judged, dtype=float), np.array([value for value in labelled if value is not None], dtype=float)
    index = np.unique(np.arange(len(f)) if clusters is None else np.asarray(clusters), return_inverse=True)[1]
    tuning = _tuning(y, f[known], f[~known])
    residuals = y - tuning * f[known]
    value = float(residuals.mean())
    variance = 0.0
    if (~known).any():
        value += tuning * float(f[~known].mean())
        variance = tuning**2 * _variance_of_mean(f[~known], index[~known])
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    below = above = 0.0
    if np.ptp(residuals) < 1e-12:
        unseen = wilson(0, len(np.unique(index[known])), confidence).high
        at = float(residuals[0])
        below = unseen * (at - (span.low - tuning * span.high))
        above = unseen * ((span.high - tuning * span.low) - at)
    else:
        variance += _variance_of_mean(residuals, index[known])
    low, high = value - z * variance**0.5 - below, value + z * variance**0.5 + above
    return PoweredMean(
        value=min(max(value, span.low), span.high),
        n=len(f),
        low=max(low, span.low),
        high=min(high, span.high),
        labelled=len(y),
        tuning=tuning,
        judged=float(f.mean()),
    )


def _tuning(y: Values, f: Values, rest: Values) -> float:
    """Returns λ from labels (n,), the judge's values of the same items (n,) and of the others (N,)."""
    together = np.concatenate([f, rest])
    if not len(rest) or np.ptp(together) < 1e-12:
        return 0.0
    covariance = float(((y - y.mean()) * (f - f.mean())).mean())
    best = covariance / ((1 + len(f) / len(rest)) * float(together.var(ddof=1)))
    return min(max(best, 0.0), 1.0)


def _variance_of_mean(values: Values, index: npt.NDArray[np.intp]) -> float:
    """Returns Σ over clusters of (Σ of deviations)² / n²; for single items the variance over n."""
    sums = np.bincount(index, weights=values - values.mean())
    return float((sums**2).sum()) / len(values) ** 2


def _check(
    judged: Sequence[float], labelled: Sequence[float | None], span: Interval, clusters: Clusters | None
) -> None:
    if len(judged) != len(labelled):
        raise ValueError(f"the judge has {len(judged)} items, people {len(labelled)}")
    if clusters is not None and len(clusters) != len(judged):
        raise ValueError(f"{len(judged)} items, but clusters of {len(clusters)}")
    if not all(span.low <= value <= span.high for value in (*judged, *labelled) if value is not None):
        raise ValueError(f"a value lies outside {span.low} to {span.high}")
