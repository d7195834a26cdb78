"""Intervals for means of items that are not independent: whole clusters are drawn again, never single items.

Items about one picture, or variants of one question, rise and fall together; an interval that takes them for
independent is too narrow. So is one that draws few clusters again, or clusters of which few differ from the others
(rare events): `few_units_interval` widens the one, and below `few_units.MANY` takes its place.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from spavl.stats.few_units import MANY, few_units_interval
from spavl.stats.rates import Interval, NotMeasured, Rate, check_confidence, wilson

Clusters = Sequence[str] | Sequence[int]
"""For every item the name of the picture or question it shares with others."""


class Resampling(NamedTuple):
    """How a bootstrap interval is made."""

    confidence: float = 0.95
    seed: int = 0
    draws: int = 2000
    small_sample: bool = True
    """Whether `few_units_interval` counts."""


def cluster_bootstrap_rate(
    values: Sequence[float],
    clusters: Clusters,
    confidence: float = 0.95,
    seed: int = 0,
    draws: int = 2000,
    small_sample: bool = True,
) -> Rate:
    """Estimates the mean of values between 0 and 1, items being grouped in clusters.

    Args:
        values: One value an item; for an event, 0 or 1.
        clusters: The cluster of each item.
        confidence: Level of the interval.
        seed: Seed of the draws; the order of the items does not matter.
        draws: Bootstrap draws.
        small_sample: Whether `few_units_interval` counts.

    Raises:
        NotMeasured: There are no items.
        ValueError: Values and clusters differ in number, or a value is outside [0, 1].
    """
    resampling = Resampling(confidence, seed, draws, small_sample)
    low, high = bootstrap_mean(values, clusters, Interval(0, 1), resampling)
    return Rate(float(np.mean(values)), len(values), low, high)


def bootstrap_mean(values: Sequence[float], clusters: Clusters, span: Interval, resampling: Resampling) -> Interval:
    """Returns the percentile interval of the mean under draws of clusters with replacement.

    Of fewer than `MANY` clusters it is too narrow; there the interval is that of `few_units_interval`. Of more it
    reaches as far as either: 60 clusters of rare events, drawn again, cover the truth in 86 %; so in 95 % and more.

    Clusters that all have one mean v would give an interval of width 0. There a share u of unseen clusters may
    differ, u being Wilson's upper limit for 0 of K clusters, at worst by lying at an end of the span: the interval
    is v - u (v - span.low) to v + u (span.high - v), which for 0 events in K single items is Wilson's.

    Args:
        values: One value an item.
        clusters: The cluster of each item.
        span: The range a value can have.
        resampling: Confidence level, seed and number of draws.

    Raises:
        NotMeasured: There are no items.
        ValueError: Values and clusters differ in number, a value is outside the span, or there are no draws.
    """
    _check(values, clusters, span, resampling)
    _, index = np.unique(np.asarray(clusters), return_inverse=True)
    sizes = np.bincount(index)  # (K,)
    sums = np.bincount(index, weights=np.asarray(values, dtype=float)).astype(float)  # (K,)
    mean = float(sums.sum() / sizes.sum())
    tail = (1 - resampling.confidence) / 2
    if np.ptp(sums / sizes) < 1e-12:
        other = wilson(0, len(sizes), resampling.confidence).high
        return Interval(mean - other * (mean - span.low), mean + other * (span.high - mean))
    padded = few_units_interval(sums, sizes.astype(float), span, resampling.confidence)
    if resampling.small_sample and len(sizes) < MANY:
        return padded
    low, high = np.quantile(draw_ratios(sums, sizes.astype(float), resampling), [tail, 1 - tail])
    drawn = Interval(min(float(low), mean), max(float(high), mean))
    return Interval(min(drawn.low, padded.low), max(drawn.high, padded.high)) if resampling.small_sample else drawn


def draw_ratios(
    sums: npt.NDArray[np.float64], sizes: npt.NDArray[np.float64], resampling: Resampling
) -> npt.NDArray[np.float64]:
    """Returns sum over size of each draw (D,), not a number where it has no size.

    A draw takes as many clusters as there are, with replacement; the same seed draws the same ones.
    """
    random = np.random.default_rng(resampling.seed)
    ratios = np.full(resampling.draws, np.nan)
    for draw in range(resampling.draws):
        drawn = random.integers(len(sizes), size=len(sizes))
        size = sizes[drawn].sum()
        if size:
            ratios[draw] = sums[drawn].sum() / size
    return ratios


def _check(values: Sequence[float], clusters: Clusters, span: Interval, resampling: Resampling) -> None:
    if len(values) != len(clusters):
        raise ValueError(f"{len(values)} values, but clusters of {len(clusters)} items")
    if not len(values):
        raise NotMeasured("a mean needs at least one item")
    if not all(span.low <= value <= span.high for value in values):
        raise ValueError(f"a value lies outside {span.low} to {span.high}")
    if resampling.draws < 1:
        raise ValueError(f"draws is {resampling.draws}: at least 1 is needed")
    check_confidence(resampling.confidence)
