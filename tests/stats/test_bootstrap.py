"""The cluster bootstrap: what it gives, where it falls back on Wilson, and how often it covers the truth."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spavl.stats import Interval, NotMeasured, cluster_bootstrap_rate, wilson
from spavl.stats.few_units import few_units_interval

ITEMS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 5)), min_size=1, max_size=30)


def test_the_interval_of_two_clusters_is_worked_by_hand() -> None:
    """Clusters a (0, 0) and b (1, 1): the draws aa, ab, ba, bb have means 0, .5, .5, 1.

    Each end has probability 1/4, more than the 2.5 % of a tail, so the interval is 0 to 1 around .5.
    """
    rate = cluster_bootstrap_rate([0, 0, 1, 1], ["a", "a", "b", "b"], small_sample=False)
    assert rate == (0.5, 4, 0.0, 1.0)


def test_a_large_cluster_weighs_as_many_items_as_it_has() -> None:
    """Mean (1 + 1 + 1 + 0) / 4 = .75, not the mean of the cluster means, .5."""
    assert cluster_bootstrap_rate([1, 1, 1, 0], [7, 7, 7, 8]).value == 0.75


def test_the_interval_of_unequal_clusters_weighs_each_by_its_items() -> None:
    """Clusters a (1, 1, 1) and b (0): the draws aa, ab, ba, bb have means 1, 3/4, 3/4, 0, each with probability 1/4.

    A tail of 30 % cuts off no more than one of them at either end, so both ends are 3/4. Means of the clusters' means
    would be 1, 1/2, 1/2, 0, and the lower end 1/2.
    """
    rate = cluster_bootstrap_rate([1, 1, 1, 0], ["a", "a", "a", "b"], confidence=0.4, small_sample=False)
    assert (rate.low, rate.high) == (0.75, 0.75)


def test_single_items_give_about_the_normal_interval() -> None:
    """100 of 400: .25 +- 1.96 sqrt(.25 * .75 / 400) = .25 +- .0424."""
    rate = cluster_bootstrap_rate([1] * 100 + [0] * 300, range(400))
    assert (rate.low, rate.high) == pytest.approx((0.2076, 0.2924), abs=0.006)


def test_copies_in_a_cluster_do_not_narrow_the_interval() -> None:
    """Every item three times: the same draws give the same means, so the interval is equal, not 1/sqrt(3) as wide."""
    values = [1.0] * 10 + [0.0] * 30  # of 40 clusters, which are drawn again
    once = cluster_bootstrap_rate(values, range(40), seed=3)
    thrice = cluster_bootstrap_rate(values * 3, list(range(40)) * 3, seed=3)
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high))
    assert thrice.n == 120


def test_no_event_in_265_clusters_gives_wilsons_limit_not_a_point() -> None:
    rate = cluster_bootstrap_rate([0] * 530, [item // 2 for item in range(530)])
    assert (rate.value, rate.n) == (0, 530)
    assert (rate.low, rate.high) == pytest.approx((0, wilson(0, 265).high))


def test_events_only_mirror_no_events() -> None:
    rate = cluster_bootstrap_rate([1] * 20, range(20))
    assert (rate.low, rate.high) == pytest.approx((wilson(20, 20).low, 1))


def test_one_cluster_says_little_however_many_items_it_has() -> None:
    rate = cluster_bootstrap_rate([1, 0] * 50, ["picture"] * 100)
    assert rate.high - rate.low > 0.7


@settings(max_examples=50)
@given(ITEMS)
def test_the_interval_holds_the_estimate_and_stays_inside_0_and_1(items: list[tuple[float, int]]) -> None:
    rate = cluster_bootstrap_rate([value for value, _ in items], [cluster for _, cluster in items], draws=50)
    assert -1e-12 <= rate.low <= rate.value + 1e-12
    assert rate.value - 1e-12 <= rate.high <= 1 + 1e-12


def test_the_seed_decides_and_the_order_of_items_does_not() -> None:
    values, clusters = [1, 0, 0, 1, 0, 1, 1, 0, 0], ["a", "a", "b", "b", "c", "d", "e", "f", "g"]
    drawn = functools.partial(cluster_bootstrap_rate, small_sample=False)
    first = drawn(values, clusters, seed=5, draws=200)
    assert drawn(values[::-1], clusters[::-1], seed=5, draws=200) == first
    assert drawn(values, clusters, seed=6, draws=7) != drawn(values, clusters, draws=7)


def test_from_40_clusters_on_they_are_drawn_again_and_the_interval_reaches_as_far_as_either() -> None:
    """Below, the interval is the one of few units alone."""
    for clusters in (39, 40):
        values = [1.0] * 12 + [0.0] * (clusters - 12)
        wide, drawn = (cluster_bootstrap_rate(values, range(clusters), small_sample=one) for one in (True, False))
        few = few_units_interval(np.array(values), np.ones(clusters), Interval(0, 1), 0.95)
        limits = (min(few.low, drawn.low), max(few.high, drawn.high)) if clusters == 40 else few
        assert (wide.low, wide.high) == limits


def test_the_cluster_interval_covers_the_truth_where_wilsons_does_not() -> None:
    """60 pictures with 3 identical items each, one coin a picture, truth .3.

    Taking the 180 items for independent makes the interval 1/sqrt(3) as wide, and then it covers
    P(|Z| < 1.96 / sqrt(3)) = 74 % instead of 95 %.
    """
    random = np.random.default_rng(0)
    clusters = [item // 3 for item in range(180)]
    by_cluster = by_item = 0
    for _ in range(200):
        values = np.repeat(random.random(60) < 0.3, 3).astype(int).tolist()
        rate, naive = cluster_bootstrap_rate(values, clusters, draws=300), wilson(sum(values), 180)
        by_cluster += rate.low <= 0.3 <= rate.high
        by_item += naive.low <= 0.3 <= naive.high
    assert 0.90 <= by_cluster / 200 <= 0.99
    assert by_item / 200 < 0.85


def test_no_items_are_not_measured() -> None:
    with pytest.raises(NotMeasured):
        cluster_bootstrap_rate([], [])


@pytest.mark.parametrize(
    ("values", "clusters", "draws"),
    [([1], [1, 2], 10), ([1.5, 0], [1, 2], 10), ([float("nan"), 0], [1, 2], 10), ([1, 0], [1, 2], 0)],
)
def test_unequal_lengths_values_out_of_range_and_no_draws_are_refused(
    values: list[float], clusters: list[int], draws: int
) -> None:
    with pytest.raises(ValueError):
        cluster_bootstrap_rate(values, clusters, draws=draws)
