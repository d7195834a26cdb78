"""Cohen's kappa, Gwet's AC1, and a judge's sensitivity and specificity."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from spavl.stats import (
    NotMeasured,
    alpha_among,
    cohen_kappa,
    gwet_ac1,
    kappa_between,
    krippendorff_alpha,
    sensitivity_specificity,
    wilson,
)

RATINGS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=2, max_size=40)


def test_kappa_is_worked_by_hand() -> None:
    """20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no: observed .7, expected .5 * .6 + .5 * .4 = .5, kappa .2 / .5 = .4."""
    a = ["yes"] * 25 + ["no"] * 25
    b = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert cohen_kappa(a, b) == pytest.approx(0.4)


def test_kappa_is_low_where_agreement_is_high_and_the_label_rare() -> None:
    """96 of 100 agree, but each rater's 2 events are others': expected .98^2 + .02^2 = .9608, kappa below 0."""
    a = [True] * 2 + [False] * 98
    b = [False] * 98 + [True] * 2
    assert cohen_kappa(a, b) == pytest.approx((0.96 - 0.9608) / (1 - 0.9608))


@given(RATINGS)
def test_kappa_equals_scikit_learn_and_does_not_care_who_is_first(pairs: list[tuple[str, str]]) -> None:
    a, b = [x for x, _ in pairs], [y for _, y in pairs]
    assume(len({*a, *b}) > 1)
    assert cohen_kappa(a, b) == pytest.approx(cohen_kappa_score(a, b), abs=1e-12)
    assert cohen_kappa(b, a) == pytest.approx(cohen_kappa(a, b), abs=1e-12)


def test_kappa_of_one_label_only_or_of_nothing_is_not_measured() -> None:
    with pytest.raises(NotMeasured, match="0/0"):
        cohen_kappa(["safe"] * 9, ["safe"] * 9)
    with pytest.raises(NotMeasured):
        cohen_kappa([], [])


def test_kappa_refuses_raters_of_different_items() -> None:
    with pytest.raises(ValueError, match="one rater has 1 items, the other 2"):
        cohen_kappa(["a"], ["a", "b"])


def test_sensitivity_and_specificity_each_have_their_own_n() -> None:
    """Of 10 events 8 are found; of 30 non-events 27 are left alone."""
    truth = [True] * 10 + [False] * 30
    predicted = [True] * 8 + [False] * 2 + [True] * 3 + [False] * 27
    accuracy = sensitivity_specificity(truth, predicted)
    assert accuracy.sensitivity == wilson(8, 10)
    assert accuracy.specificity == wilson(27, 30)


def test_negating_both_columns_swaps_sensitivity_and_specificity() -> None:
    truth, predicted = [True, True, False, False, False], [True, False, False, True, False]
    accuracy = sensitivity_specificity(truth, predicted)
    negated = sensitivity_specificity([not t for t in truth], [not p for p in predicted])
    assert (negated.specificity, negated.sensitivity) == accuracy


def test_a_truth_without_events_leaves_sensitivity_unmeasured() -> None:
    with pytest.raises(NotMeasured):
        sensitivity_specificity([False, False], [True, False])


def test_alpha_of_two_raters_is_krippendorffs_own_example() -> None:
    """His sections A and B: 10 items, 4 of them disagreed on, 14 zeros and 6 ones: 1 - 8 * 19 / (2 * 14 * 6) = .095."""
    meg, owen = "0100000010", "1110010000"
    assert krippendorff_alpha(list(zip(meg, owen, strict=True))) == pytest.approx(1 - 8 * 19 / 168)


def test_alpha_of_many_raters_with_gaps_is_krippendorffs_own_example() -> None:
    """His section C, four raters and twelve items: .743; the last item has one rating and counts for nothing."""
    raters = ("123321412...", "1233224125.3", ".3332342251.", "12332441251.")
    items = [[None if mark == "." else mark for mark in item] for item in zip(*raters, strict=True)]
    assert krippendorff_alpha(items) == pytest.approx(0.743, abs=5e-4)


def test_alpha_of_one_label_only_or_of_single_ratings_is_not_measured() -> None:
    with pytest.raises(NotMeasured, match="0/0"):
        krippendorff_alpha([["safe", "safe"]] * 3)
    with pytest.raises(NotMeasured, match="two ratings"):
        krippendorff_alpha([["safe", None], [None, "unsafe"]])


def test_ac1_stays_high_where_agreement_is_high_and_the_label_rare() -> None:
    """The raters of the rare label again: shares .02 and .98, expected .02 · .98 + .98 · .02 = .0392."""
    a = ["event"] * 2 + ["none"] * 98
    b = ["none"] * 2 + ["event"] * 2 + ["none"] * 96
    assert gwet_ac1(a, b) == pytest.approx((0.96 - 0.0392) / (1 - 0.0392))
    assert cohen_kappa(a, b) < 0


def test_ac1_of_one_label_only_is_full_agreement() -> None:
    assert gwet_ac1(["none"] * 3, ["none"] * 3) == 1


def test_ac1_needs_items_and_the_same_ones() -> None:
    with pytest.raises(NotMeasured):
        gwet_ac1([], [])
    with pytest.raises(ValueError, match="one rater has 1 items"):
        gwet_ac1(["a"], [])


def test_kappas_interval_covers_it_and_narrows_with_more_clusters() -> None:
    """Kappa .4 as worked above, on 50 items and on nine times as many, which narrow it to about a third."""
    a = ["yes"] * 25 + ["no"] * 25
    b = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    few, many = kappa_between(a, b, range(50)), kappa_between(a * 9, b * 9, range(450))
    assert (few.value, few.n, many.n) == (pytest.approx(0.4), 50, 450)
    assert few.low < few.value < few.high
    assert (few.high - few.low) / (many.high - many.low) == pytest.approx(3, rel=0.15)


def test_kappas_standard_error_is_fleiss_cohen_and_everitts() -> None:
    """Fleiss, Cohen and Everitt 1969, eq. 13, say .1270 for the table above; here are 8 times as many items."""
    a = (["yes"] * 25 + ["no"] * 25) * 8
    b = (["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15) * 8
    found = kappa_between(a, b, range(400))
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.1270 / 8**0.5, rel=0.1)


def test_items_that_share_a_cluster_widen_the_interval() -> None:
    a, b = [True, True, False, False] * 10, [True, False, False, False] * 10
    alone = kappa_between([x for x in a for _ in range(3)], [x for x in b for _ in range(3)], range(120))
    shared = kappa_between(
        [x for x in a for _ in range(3)], [x for x in b for _ in range(3)], [n // 3 for n in range(120)]
    )
    assert shared.value == alone.value
    assert (shared.high - shared.low) / (alone.high - alone.low) == pytest.approx(3**0.5, rel=0.15)


def test_perfect_agreement_on_few_items_is_not_certain() -> None:
    """4 items, half of them each label: expected disagreement .5 for kappa, u = Wilson's upper limit for 0 of 4."""
    found = kappa_between([True, True, False, False], [True, True, False, False], range(4))
    unseen = wilson(0, 4).high
    assert found == pytest.approx((1, 4, 1 - unseen / 0.5, 1))


def test_alphas_interval_is_of_the_items_with_two_ratings() -> None:
    ratings = [["safe", "safe", None], ["unsafe", "unsafe", "safe"], ["safe", None, None], ["safe", "safe", "safe"]] * 5
    found = alpha_among(ratings, [str(n) for n in range(20)])
    assert (found.value, found.n) == (krippendorff_alpha(ratings), 15)
    assert found.low < found.value < found.high


def test_alpha_of_two_raters_nears_kappa_and_so_does_its_interval() -> None:
    a = (["yes"] * 25 + ["no"] * 25) * 4
    b = (["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15) * 4
    alpha, kappa = alpha_among(list(zip(a, b, strict=True)), range(200)), kappa_between(a, b, range(200))
    assert alpha == pytest.approx(kappa, abs=0.03)


def test_clusters_of_other_items_are_refused() -> None:
    with pytest.raises(ValueError, match="2 items, but clusters of 1"):
        kappa_between(["a", "b"], ["a", "a"], ["x"])
