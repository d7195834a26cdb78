"""Cohen's kappa, Gwet's AC1, and a judge's sensitivity and specificity."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from spavl.stats import NotMeasured, cohen_kappa, gwet_ac1, krippendorff_alpha, sensitivity_specificity, wilson

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
