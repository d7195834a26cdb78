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
from spavl.stats.few_units import padded_mean, student
from spavl.stats.rates import Interval, NotMeasured, check_confidence, wilson

Values = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]
"""For every value the number of its cluster."""

SHARE = Interval(0, 1)
"""The range of an event's value."""
LEAST_LABELLED = 2
"""Items with people's labels, and clusters of them, below which nothing can be said about the judge's error."""


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
    small_sample: bool = True,
) -> PoweredMean:
    """Estimates the change of an event's rate, after minus before, whatever the judge's errors before and after.

    Args:
        judged: For every item, whether the judge saw the event before and after.
        labelled: For every item, whether people saw it before and after; None where nobody looked. Who labels must
            not know which of the two answers came first.
        clusters: The cluster of each item; left out, every item stands alone.
        confidence: Level of the interval.
        small_sample: As in `powered_mean`.

    Raises:
        NotMeasured: Fewer than two items, or clusters, are labelled.
        ValueError: The sequences differ in length.
    """
    judge = [float(after) - float(before) for before, after in judged]
    people = [None if one is None else float(one[1]) - float(one[0]) for one in labelled]
    return powered_mean(judge, people, Interval(-1, 1), clusters, confidence, small_sample)


def powered_mean(
    judged: Sequence[float],
    labelled: Sequence[float | None],
    span: Interval = SHARE,
    clusters: Clusters | None = None,
    confidence: float = 0.95,
    small_sample: bool = True,
) -> PoweredMean:
    """Estimates a mean from the judge's values of all items and people's values of some (PPI++, eq. 6 and example 6.1).

        θ = λ mean(f, unlabelled) + mean(y - λ f, labelled)
        λ = cov(y, f) / ((1 + n / N) var(f)), between 0 and 1, for n labelled and N unlabelled items
        var(θ) = λ² var(f) / N + var(y - λ f) / n

    The labelled items have to be a uniform random sample, drawn by whole clusters where there are clusters. Where
    y - λ f is one value in all labelled items, the share of items that may differ is bounded as in `bootstrap_mean`.
    Elsewhere its part of the interval is of few units (`few_units.padded_mean`): at either end of the span people are
    imagined to have labelled a part of a cluster of which the judge said what it says on average. Of 10 to 30 labels
    the interval of the paper covers the truth in 86 to 95 %.

    Args:
        judged: f, one value an item.
        labelled: y, one value an item; None where nobody looked.
        span: The range a value can have.
        clusters: The cluster of each item; left out, every item stands alone.
        confidence: Level of the interval.
        small_sample: Whether it is widened for there being few labels; without it is the paper's normal interval.

    Raises:
        NotMeasured: Fewer than two items, or clusters, are labelled.
        ValueError: The sequences differ in length, or a value is outside the span.
    """
    _check(judged, labelled, span, clusters)
    check_confidence(confidence)
    known = np.array([value is not None for value in labelled])
    f, y = np.asarray(judged, dtype=float), np.array([value for value in labelled if value is not None], dtype=float)
    index = np.unique(np.arange(len(f)) if clusters is None else np.asarray(clusters), return_inverse=True)[1]
    there = min(len(y), len(np.unique(index[known])))
    if there < LEAST_LABELLED:
        raise NotMeasured(f"{there} items or clusters have people's labels: at least {LEAST_LABELLED} are needed")
    tuning = _tuning(y, f[known], f[~known])
    residuals = y - tuning * f[known]
    rest = variance = 0.0
    if (~known).any():
        rest = tuning * float(f[~known].mean())
        variance = tuning**2 * _variance_of_mean(f[~known], index[~known])
    by = np.unique(index[known], return_inverse=True)[1]
    if np.ptp(residuals) < 1e-12:
        low, high = _all_alike(float(residuals[0]), tuning, span, (variance, int(by.max()) + 1), confidence)
    elif small_sample:
        said = tuning * float(f.mean())
        low, high = _of_few(residuals, by, Interval(span.low - said, span.high - said), variance, confidence)
    else:
        low, high = _normal(residuals, by, variance, confidence)
    value = float(residuals.mean()) + rest
    return PoweredMean(
        value=min(max(value, span.low), span.high),
        n=len(f),
        low=max(low + rest, span.low),
        high=min(high + rest, span.high),
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


def _normal(residuals: Values, by: Index, rest: float, confidence: float) -> Interval:
    """Returns the normal interval of the mean residual, `rest` being the variance of what is added to it."""
    half = _normal_quantile(confidence) * (rest + _variance_of_mean(residuals, by)) ** 0.5
    return Interval(float(residuals.mean()) - half, float(residuals.mean()) + half)


def _of_few(residuals: Values, by: Index, ends: Interval, rest: float, confidence: float) -> Interval:
    """Returns the interval of the mean residual of few clusters, each variance with the quantile of its own."""
    padded = padded_mean(np.bincount(by, weights=residuals).astype(float), np.bincount(by).astype(float), ends)
    normal, few = _normal_quantile(confidence), student(int(by.max()) + 1, confidence)
    half, mean = (normal**2 * rest + few**2 * padded.variance) ** 0.5, float(residuals.mean())
    return Interval(min(padded.value - half, mean), max(padded.value + half, mean))


def _all_alike(residual: float, tuning: float, span: Interval, known: tuple[float, int], confidence: float) -> Interval:
    """Returns what is left open by clusters that all have one residual; `known`: variance of the rest, and clusters."""
    variance, clusters = known
    half, unseen = _normal_quantile(confidence) * variance**0.5, wilson(0, clusters, confidence).high
    below = unseen * (residual - (span.low - tuning * span.high))
    above = unseen * ((span.high - tuning * span.low) - residual)
    return Interval(residual - half - below, residual + half + above)


def _normal_quantile(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)


def _variance_of_mean(values: Values, index: Index) -> float:
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
