"""Paired change, the exact tests of McNemar and of whole clusters, and Holm's adjustment."""

from itertools import product
from operator import mul

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from spavl.stats import (
    Interval,
    NotMeasured,
    benjamini_hochberg,
    holm,
    mcnemar_exact,
    non_inferiority,
    paired_change,
    sign_flip_exact,
    wilson,
)

PAIRS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40)


def columns(pairs: list[tuple[bool, bool]]) -> tuple[list[bool], list[bool]]:
    return [old for old, _ in pairs], [new for _, new in pairs]


def test_the_table_and_the_change_are_counted() -> None:
    """6 fixed, 1 broken, 2 both, 11 neither: 8 of 20 before, 3 of 20 after, a change of -.25.

    p = 2 (C(7,0) + C(7,1)) / 2^7 = 16 / 128 = .125.
    """
    before, after = columns([(True, False)] * 6 + [(False, True)] + [(True, True)] * 2 + [(False, False)] * 11)
    change = paired_change(before, after)
    assert (change.value, change.n, change.p_value) == (-0.25, 20, 0.125)
    assert (change.fixed, change.broken, change.both, change.neither) == (6, 1, 2, 11)
    assert change.low < -0.25 < change.high


def test_the_interval_is_about_the_normal_one_of_paired_differences() -> None:
    """120 fixed, 20 broken of 400: d has mean -.25 and variance 140/400 - .0625 = .2875.

    The standard error is sqrt(.2875 / 400) = .02681, so -.25 +- .0525.
    """
    before, after = columns([(True, False)] * 120 + [(False, True)] * 20 + [(False, False)] * 260)
    change = paired_change(before, after)
    assert (change.low, change.high) == pytest.approx((-0.3025, -0.1975), abs=0.008)


def test_clusters_widen_the_interval_of_items_that_move_together() -> None:
    before, after = columns([(True, False)] * 40 + [(False, False)] * 80)
    alone = paired_change(before, after)
    grouped = paired_change(before, after, clusters=[item // 4 for item in range(120)])
    assert grouped.value == alone.value
    assert grouped.high - grouped.low > 1.6 * (alone.high - alone.low)


def test_no_change_at_all_still_has_an_interval() -> None:
    """Nothing moved in 50 items; up to Wilson's limit for 0 of 50 may move either way."""
    change = paired_change([True] * 10 + [False] * 40, [True] * 10 + [False] * 40)
    limit = wilson(0, 50).high
    assert (change.value, change.p_value) == (0, 1)
    assert (change.low, change.high) == pytest.approx((-limit, limit))


def test_everything_fixed_stops_at_minus_1() -> None:
    change = paired_change([True] * 8, [False] * 8)
    assert (change.value, change.low) == (-1, -1)
    assert change.high == pytest.approx(-1 + 2 * wilson(0, 8).high)


@settings(max_examples=50)
@given(PAIRS)
def test_swapping_before_and_after_mirrors_everything(pairs: list[tuple[bool, bool]]) -> None:
    before, after = columns(pairs)
    there, back = paired_change(before, after, draws=60), paired_change(after, before, draws=60)
    assert (back.value, back.low, back.high) == pytest.approx((-there.value, -there.high, -there.low), abs=1e-12)
    assert (back.fixed, back.broken, back.p_value) == (there.broken, there.fixed, there.p_value)
    assert -1 - 1e-12 <= there.low <= there.value + 1e-12 <= there.high + 2e-12 <= 1 + 3e-12


def test_nothing_to_pair_is_not_measured_and_unequal_lengths_are_refused() -> None:
    with pytest.raises(NotMeasured):
        paired_change([], [])
    with pytest.raises(ValueError, match="2 items before, 1 after"):
        paired_change([True, False], [True])


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_equals_statsmodels(b: int, c: int) -> None:
    expected = mcnemar([[5, b], [c, 5]], exact=True).pvalue if b + c else 1.0
    assert mcnemar_exact(b, c) == pytest.approx(expected, abs=1e-12)


def test_mcnemar_is_1_without_discordant_items_and_where_they_balance() -> None:
    assert mcnemar_exact(0, 0) == mcnemar_exact(4, 4) == 1


def test_mcnemar_stays_exact_for_many_items() -> None:
    """All of 1,000 fixed: 2 / 2^1000. With 40,000 discordant items, 2^40000 is far beyond a float."""
    assert mcnemar_exact(1000, 0) == 2.0**-999
    assert mcnemar_exact(20000, 20000) == 1


def test_clusters_of_one_item_make_mcnemars_test() -> None:
    """7 fell, 1 rose, 2 stayed: 2 (C(8,0) + C(8,1)) / 2^8 = 18 / 256."""
    assert sign_flip_exact([-1] * 7 + [1] + [0] * 2, range(10)) == mcnemar_exact(7, 1) == 18 / 256


def test_clusters_flip_as_one() -> None:
    """3 clusters of 4 items that all fell are 3 coins: p = 2 / 2^3, where 12 single items would have 2 / 2^12."""
    assert sign_flip_exact([-1] * 12, [item // 4 for item in range(12)]) == 1 / 4
    change = paired_change([True] * 12, [False] * 12, [item // 4 for item in range(12)])
    assert (change.fixed, change.p_value) == (12, 1 / 4)


def test_clusters_count_by_how_far_they_moved() -> None:
    """Sums -3, -1 and +1, together -3: of 8 signs ±3±1±1, |S| is 5 twice, 3 four times and 1 twice: p = 6 / 8.

    Sums -3, -2 and +1, together -4: |S| is 6, 4, 2 or 0 twice each: p = 4 / 8. A cluster that fell and rose is no coin.
    """
    assert sign_flip_exact([-1, -1, -1, -1, 1], "aaabc") == 6 / 8
    assert sign_flip_exact([-1, -1, -1, -1, -1, 1, -1, 1], "aaabbcdd") == 4 / 8
    assert sign_flip_exact([-1, 1], "aa") == 1


def test_thirds_and_tenths_of_a_point_tie_with_whole_points() -> None:
    """Sums +1 of three thirds and -1: together 0, so every sign is as far. Of .1, .2 and .3 only 2 of 8 reach .6."""
    assert sign_flip_exact([1 / 3, 1 / 3, 1 / 3, -1], "aaab") == 1
    assert sign_flip_exact([0.1, 0.2, 0.3], "abc") == 2 / 8


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=9))
@settings(max_examples=40, deadline=None)
def test_the_sign_flip_test_counts_every_sign(sums: list[int]) -> None:
    flips = [abs(sum(map(mul, signs, sums))) for signs in product((-1, 1), repeat=len(sums))]
    items = [(cluster, 1 if total > 0 else -1) for cluster, total in enumerate(sums) for _ in range(abs(total))]
    p = sign_flip_exact([change for _, change in items], [cluster for cluster, _ in items])
    assert p == pytest.approx(sum(far >= abs(sum(sums)) for far in flips) / len(flips), abs=1e-12)


def test_without_a_true_change_clusters_of_four_alike_are_seldom_called_changed() -> None:
    """100 clusters of 4 alike that fell, stayed or rose by chance: p < .05 in at most 8 % of 400 draws."""
    draws = np.random.default_rng(0).integers(-1, 2, (400, 100))
    called = sum(sign_flip_exact(np.repeat(one, 4).tolist(), np.repeat(range(100), 4).tolist()) < 0.05 for one in draws)
    assert 0 < called <= 0.08 * 400


def test_beyond_the_work_for_an_exact_distribution_it_is_the_normal_one() -> None:
    """40,000 clusters of 2 and one of 1; those of 2 rose 200 times more than they fell, the one rose too: sum 401.

    z = 401 / sqrt(160,001) = 1.0025, so p = .3161.
    """
    sums = [2] * 20_100 + [-2] * 19_900 + [1]
    items = [(cluster, 1 if total > 0 else -1) for cluster, total in enumerate(sums) for _ in range(abs(total))]
    p = sign_flip_exact([change for _, change in items], [cluster for cluster, _ in items])
    assert p == pytest.approx(0.3161, abs=1e-4)


def test_mcnemar_refuses_negative_counts() -> None:
    with pytest.raises(ValueError):
        mcnemar_exact(-1, 3)


def test_holm_is_worked_by_hand() -> None:
    """Sorted .01, .03, .04 times 3, 2, 1: .03, .06, .04, the last raised to .06; back in the order given."""
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])


@settings(max_examples=15)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_equals_statsmodels(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1].tolist(), abs=1e-12)


def test_holm_of_nothing_is_nothing_and_an_impossible_p_is_refused() -> None:
    assert holm([]) == []
    with pytest.raises(ValueError):
        holm([0.5, float("nan")])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
@settings(deadline=None)
def test_benjamini_and_hochberg_is_statsmodels(p_values: list[float]) -> None:
    theirs = multipletests(p_values, method="fdr_bh")[1].tolist()
    assert benjamini_hochberg(p_values) == pytest.approx(theirs, abs=1e-9)


def test_a_share_of_false_discoveries_is_kept_by_hand() -> None:
    """Of three: .01 · 3/1 = .03, .04 · 3/2 = .06, but .05 · 3/3 = .05 comes after it, so .05."""
    assert benjamini_hochberg([0.05, 0.01, 0.04]) == pytest.approx([0.05, 0.03, 0.05])


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(-0.005, 0.02, "not worse"), (-0.02, 0.02, "not shown"), (-0.05, -0.02, "worse"), (-0.01, 0.02, "not shown")],
)
def test_a_loss_is_ruled_out_by_the_whole_interval_or_not_at_all(low: float, high: float, verdict: str) -> None:
    assert non_inferiority(Interval(low, high), margin=0.01) == verdict


def test_a_margin_has_to_be_stated() -> None:
    with pytest.raises(ValueError, match="margin 0"):
        non_inferiority(Interval(-0.1, 0.1), margin=0)
