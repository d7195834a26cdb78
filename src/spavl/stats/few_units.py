"""Intervals of few units: Student's quantile, and imagined units at both ends of the range.

A few units hardly ever show how far the others may lie: of ten, nine that are alike and one that is not. So a part of
a unit more is imagined at either end, as Agresti and Coull (1998) do for one rate and Agresti and Min (2005) for the
change of one; of many units nothing is changed by it.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from spavl.stats.rates import Interval

Values = npt.NDArray[np.float64]

MANY = 40
"""Clusters from which on drawing them again covers the truth as often as it says, unless few differ from the others."""


class PaddedMean(NamedTuple):
    """A mean with imagined units, and its variance."""

    value: float
    variance: float


def padded_mean(sums: Values, sizes: Values, span: Interval) -> PaddedMean:
    """Returns the mean of clusters and of w more, of the mean size m, at either end of the span.

        w = 1 / (high - low): one of a rate, half a one of a change
        θ = (Σ s_k + w m (low + high)) / M,  M = Σ n_k + 2 w m
        var(θ) = (Σ (s_k - θ n_k)² + w m² ((low - θ)² + (high - θ)²)) / M²

    Args:
        sums: s, of each cluster's values (K,).
        sizes: n, of each cluster (K,).
        span: The range a value can have.
    """
    weight, mean_size = 1 / (span.high - span.low), float(sizes.mean())
    items = float(sizes.sum()) + 2 * weight * mean_size
    value = (float(sums.sum()) + weight * mean_size * (span.low + span.high)) / items
    ends = weight * mean_size**2 * ((span.low - value) ** 2 + (span.high - value) ** 2)
    return PaddedMean(value, (float(((sums - value * sizes) ** 2).sum()) + ends) / items**2)


def few_units_interval(sums: Values, sizes: Values, span: Interval, confidence: float) -> Interval:
    """Returns the interval of the mean of K clusters that are not all alike: θ ± t(K - 1) sqrt(var(θ)).

    The mean itself is always inside, and the interval inside the span.
    """
    mean, padded = float(sums.sum() / sizes.sum()), padded_mean(sums, sizes, span)
    half = student(len(sums), confidence) * padded.variance**0.5
    return Interval(
        max(min(padded.value - half, mean), span.low),
        min(max(padded.value + half, mean), span.high),
    )


def student(units: int, confidence: float) -> float:
    """Returns the quantile of Student's t of one degree of freedom fewer than there are units, two at least."""
    low, high = 0.0, math.pi / 2
    while low < (angle := (low + high) / 2) < high:
        low, high = (angle, high) if _within(angle, units - 1) < confidence else (low, angle)
    return math.tan(angle) * math.sqrt(units - 1)


def _within(angle: float, freedom: int) -> float:
    """Returns P(|t| < √ν tan θ) of ν degrees of freedom (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4).

    ν odd    2/π (θ + sin θ (cos θ + 2/3 cos³ θ + … + (2·4⋯(ν - 3)) / (3·5⋯(ν - 2)) cosᵛ⁻² θ)), ν = 1: 2/π θ
    ν even   sin θ (1 + 1/2 cos² θ + … + (1·3⋯(ν - 3)) / (2·4⋯(ν - 2)) cosᵛ⁻² θ)
    """
    odd = freedom % 2
    term, total = (math.cos(angle) if odd else 1.0), 0.0
    for power in range(odd, freedom - 1, 2):
        total += term
        term *= (power + 1) / (power + 2) * math.cos(angle) ** 2
    share = math.sin(angle) * total
    return 2 / math.pi * (angle + share) if odd else share
