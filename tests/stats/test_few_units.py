"""Intervals of few units: the formula by hand, and how often they cover the truth."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats

from spavl.stats import Interval
from spavl.stats.bootstrap import Resampling, bootstrap_mean
from spavl.stats.few_units import few_units_interval, padded_mean, student

SHARE, CHANGE = Interval(0, 1), Interval(-1, 1)
Draw = Callable[[np.random.Generator, int], np.ndarray]


def test_a_rate_has_one_imagined_cluster_of_the_mean_size_at_either_end() -> None:
    """Clusters (1, 1, 1), (0) and (0, 0), and (0, 0) and (1, 1) imagined: 5 of 10, θ = 1/2.

    Σ (s - n/2)² = 9/4 + 1/4 + 1 = 7/2, and each end adds 2² / 4 = 1: 5.5 / 10².
    """
    found = padded_mean(np.array([3.0, 0, 0]), np.array([3.0, 1, 2]), SHARE)
    assert found == pytest.approx((0.5, 0.055))


def test_a_change_has_half_a_cluster_at_either_end() -> None:
    """Clusters (-1, -1) and (0, 0), and one item each at -1 and 1: θ = -2/6.

    Σ (s - 2θ)² = (4/3)² + (2/3)² = 20/9; half of 2² (2/3)² and of 2² (4/3)² are 40/9: 60/9 / 6² = 5/27.
    """
    assert padded_mean(np.array([-2.0, 0]), np.array([2.0, 2]), CHANGE) == pytest.approx((-1 / 3, 5 / 27))


def test_two_events_of_ten_are_three_of_twelve_with_students_quantile() -> None:
    """θ = 1/4, and 1/4 · 3/4 / 12 = 1/64; t(9) = 2.262157, so 1/4 ± 2.262157 / 8 = 1/4 ± .28277, and none below 0."""
    low, high = few_units_interval(np.array([1.0, 1, *[0] * 8]), np.ones(10), SHARE, 0.95)
    assert (low, high) == (0, pytest.approx(0.53277, abs=1e-5))


@pytest.mark.parametrize("units", [2, 3, 4, 5, 10, 31, 40, 1001])
def test_students_quantile_is_scipys(units: int) -> None:
    for confidence in (0.01, 0.5, 0.9, 0.95, 0.999):
        wanted = scipy.stats.t.ppf((1 + confidence) / 2, units - 1)
        assert student(units, confidence) == pytest.approx(wanted, rel=1e-9)


def test_the_mean_is_inside_and_the_interval_inside_the_span() -> None:
    """Of 9 of 10, 10 of 12 are imagined: at a level of 1 % the interval around 5/6 would end below 9/10."""
    low, high = few_units_interval(np.array([0.0, *[1] * 9]), np.ones(10), SHARE, 0.01)
    assert low == pytest.approx(0.83, abs=0.01) and high == 0.9
    low, high = few_units_interval(np.array([1.0, *[0] * 9]), np.ones(10), SHARE, 0.01)
    assert low == 0.1 and high == pytest.approx(0.17, abs=0.01)
    assert few_units_interval(np.array([0.0, 1.0]), np.ones(2), SHARE, 0.95) == SHARE


def events(rate: float, alike: bool) -> Draw:
    """Returns the drawing of clusters' shares of 4 items: all alike, or of a beta distribution."""

    def draw(random: np.random.Generator, clusters: int) -> np.ndarray:
        if alike:
            return (random.random(clusters) < rate).astype(float)
        common = 1 / 0.3 - 1
        return random.binomial(4, random.beta(rate * common, (1 - rate) * common, clusters)) / 4

    return draw


def changes(fixed: float, broken: float) -> Draw:
    """Returns the drawing of clusters' changes: -1, 1 or 0."""

    def draw(random: np.random.Generator, clusters: int) -> np.ndarray:
        return random.choice([-1.0, 1.0, 0.0], clusters, p=[fixed, broken, 1 - fixed - broken])

    return draw


CASES: list[Any] = [
    *((events(rate, alike), rate, SHARE) for rate in (0.03, 0.1, 0.2, 0.3, 0.5, 0.9) for alike in (True, False)),
    *(
        (changes(*two), two[1] - two[0], CHANGE)
        for two in ((0.02, 0.02), (0.12, 0), (0.1, 0.1), (0.25, 0.05), (0.5, 0.02))
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize("clusters", [10, 20, 30])
def test_the_interval_covers_the_truth_of_10_to_30_clusters(clusters: int) -> None:
    """Wanted are 93 % at least, of 600 draws of each case; a standard error of .95 is .009.

    The percentile interval covers a rate of 10 % of items that rise and fall by clusters in less than that.
    """
    random = np.random.default_rng(0)
    for draw, truth, span in CASES:
        found = [draw(random, clusters) for _ in range(600)]
        assert _share(found, truth, span, Resampling()) >= 0.93
    found = [events(0.1, alike=False)(random, clusters) for _ in range(300)]
    assert _share(found, 0.1, SHARE, Resampling(draws=300, small_sample=False)) < 0.93


@pytest.mark.slow
def test_the_interval_covers_the_truth_of_rare_events_in_many_clusters() -> None:
    """5 % of the items of 60 clusters: drawing them again alone covers less than the 93 % of 400 that are wanted."""
    random = np.random.default_rng(0)
    found = [events(0.05, alike=False)(random, 60) for _ in range(400)]
    assert _share(found, 0.05, SHARE, Resampling(draws=300)) >= 0.93
    assert _share(found, 0.05, SHARE, Resampling(draws=300, small_sample=False)) < 0.93


def _share(found: list[np.ndarray], truth: float, span: Interval, resampling: Resampling) -> float:
    limits = [bootstrap_mean(one.tolist(), range(len(one)), span, resampling) for one in found]
    return float(np.mean([low - 1e-9 <= truth <= high + 1e-9 for low, high in limits]))
