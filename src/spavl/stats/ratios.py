"""Ratios of sums over items, such as precision and F1, and their changes; intervals draw whole clusters again."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from spavl.stats.bootstrap import Clusters, Resampling, draw_ratios
from spavl.stats.rates import Interval, NotMeasured, Rate, wilson

Pairs = Sequence[tuple[float, float]]
"""For every item what it adds to the sum above the line and to the one below; below is never less than above."""


class RatioChange(NamedTuple):
    """One ratio minus another of the same items."""

    value: float
    n: int
    low: float
    high: float


def cluster_bootstrap_ratio(pairs: Pairs, clusters: Clusters, resampling: Resampling = Resampling()) -> Rate:  # noqa: B008  # immutable
    """Estimates a ratio of two sums, from 0 to 1, items being grouped in clusters.

    Where every cluster has the same ratio the interval is the one that `bootstrap_mean` explains.

    Raises:
        NotMeasured: The sum below the line is 0.
        ValueError: Items and clusters differ in number.
    """
    above, below = _by_cluster(pairs, clusters)
    if not below.sum():
        raise NotMeasured("a ratio needs something below the line")
    value, counted = float(above.sum() / below.sum()), below > 0
    if np.ptp(above[counted] / below[counted]) < 1e-12:
        other = wilson(0, int(counted.sum()), resampling.confidence).high
        return Rate(value, len(pairs), value - other * value, value + other * (1 - value))
    low, high = _ends(draw_ratios(above, below, resampling), resampling.confidence)
    return Rate(value, len(pairs), min(low, value), max(high, value))


def ratio_change(
    before: Pairs,
    after: Pairs,
    clusters: Clusters,
    resampling: Resampling = Resampling(),  # noqa: B008  # immutable
) -> RatioChange:
    """Estimates the second ratio minus the first, of the same items in the same order; both are drawn together.

    Where nothing varies the ends are as far off as two unseen clusters of either kind may put them: the sum of both
    ratios' own widths.

    Raises:
        NotMeasured: One of the sums below the line is 0.
        ValueError: Items and clusters differ in number.
    """
    old, new = (cluster_bootstrap_ratio(one, clusters, resampling) for one in (before, after))
    value = new.value - old.value
    drawn = [draw_ratios(*_by_cluster(one, clusters), resampling) for one in (before, after)]
    low, high = _ends(drawn[1] - drawn[0], resampling.confidence)
    if high - low < 1e-12:
        low, high = new.low - old.high, new.high - old.low
    return RatioChange(value, len(before), min(low, value), max(high, value))


def _by_cluster(pairs: Pairs, clusters: Clusters) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    if len(pairs) != len(clusters):
        raise ValueError(f"{len(pairs)} items, but clusters of {len(clusters)}")
    if not pairs:
        raise NotMeasured("a ratio needs at least one item")
    _, index = np.unique(np.asarray(clusters), return_inverse=True)
    table = np.asarray(pairs, dtype=float)  # (N, 2)
    above, below = (np.bincount(index, column).astype(float) for column in table.T)
    return above, below


def _ends(drawn: npt.NDArray[np.float64], confidence: float) -> Interval:
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(drawn, [tail, 1 - tail])
    return Interval(float(low), float(high))
