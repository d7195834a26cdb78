"""Prediction-powered means and changes: the formula by hand, beside ppi-python, and how often they cover the truth."""

from math import sqrt

import numpy as np
import pytest
from ppi_py import ppi_mean_ci, ppi_mean_pointestimate

from spavl.stats import Interval, NotMeasured, paired_change, powered_change, powered_mean, wilson

Z = 1.959963984540054


def test_the_judge_is_put_right_by_what_people_saw() -> None:
    """Four labelled items: y = 1, 0, 1, 0 and f = 1, 1, 1, 0; four others: f = 1, 1, 0, 0.

    cov(y, f) = (1/2)(1/4)(1 - 1 + 1 + 3)/4 = 1/8; the eight f have 5 ones, so var = 5/8 · 3/8 · 8/7 = 15/56; n / N = 1:
    λ = (1/8) / (2 · 15/56) = 7/30. θ = λ/2 + (1/2 - 3/4 λ) = 1/2 - λ/4 = 53/120.
    """
    mean = powered_mean([1, 1, 1, 0, 1, 1, 0, 0], [1, 0, 1, 0, None, None, None, None])
    assert mean.tuning == pytest.approx(7 / 30)
    assert mean.value == pytest.approx(53 / 120)
    assert (mean.n, mean.labelled, mean.judged) == (8, 4, 5 / 8)


@pytest.mark.parametrize("seed", range(5))
def test_it_is_what_ppi_python_gives(seed: int) -> None:
    random = np.random.default_rng(seed)
    truth = random.random(400) < 0.4
    judged = np.where(random.random(400) < 0.85, truth, ~truth).astype(float)
    known = np.arange(400) < 90
    people = [float(y) if at else None for y, at in zip(truth, known, strict=True)]
    mean = powered_mean(judged.tolist(), people, small_sample=False)
    theirs = (truth[known].astype(float), judged[known], judged[~known])
    low, high = ppi_mean_ci(*theirs, alpha=0.05)
    # its point estimate tunes λ anew at another point, its interval at λ = 1; both are the same number
    assert mean.value == pytest.approx(ppi_mean_pointestimate(*theirs)[0], abs=1e-9)
    assert (mean.low, mean.high) == pytest.approx((low[0], high[0]), abs=1e-9)


def test_a_judge_that_says_one_thing_of_all_adds_nothing() -> None:
    """λ = 0, and people's 3 of 10 remain: .3 ± z sqrt(.21 / 10).

    For few units one more event and one more that is none: 4 of 12, with the variance 4/12 · 8/12 / 12 and the quantile
    2.262 of nine degrees of freedom: 1/3 ± 2.262 · .13608 = 1/3 ± .3078.
    """
    given = [1.0] * 50, [1.0] * 3 + [0.0] * 7 + [None] * 40
    mean, half = powered_mean(*given, small_sample=False), Z * sqrt(0.021)
    assert (mean.tuning, mean.value) == (0, pytest.approx(0.3))
    assert (mean.low, mean.high) == pytest.approx((0.3 - half, 0.3 + half))
    few = powered_mean(*given)
    assert few.value == mean.value and (few.low, few.high) == pytest.approx((0.0255, 0.6412), abs=1e-4)


def test_few_labels_widen_peoples_part_of_the_interval() -> None:
    """The eight items above: λ = 7/30, f says 5/8, so λ f is .14583 and the imagined ends are -.14583 and .85417.

    The residuals .76667, -.23333, .76667 and 0 and both ends add up to 2.00833, so θ = .33472; the squared deviations
    from it are .18658, .32269, .18658, .11204, .23093 and .26982, 1.30863 in all: over 6², .036351. The four others
    add λ/2 = .11667, with the variance λ² (1/4) / 4 = .0034028. At 50 % z = .67449 and t(3) = .76489:
    .45139 ± sqrt(.67449² · .0034028 + .76489² · .036351) = .45139 ± sqrt(.001548 + .021267) = .45139 ± .15105.
    """
    mean = powered_mean([1, 1, 1, 0, 1, 1, 0, 0], [1, 0, 1, 0, None, None, None, None], confidence=0.5)
    assert mean.value == pytest.approx(53 / 120)
    assert (mean.low, mean.high) == pytest.approx((0.30034, 0.60244), abs=1e-5)


def test_where_everything_is_labelled_the_judge_is_not_asked() -> None:
    mean = powered_mean([1, 1, 1, 0], [0, 1, 0, 0])
    assert (mean.value, mean.tuning) == (0.25, 0)


def test_people_who_saw_nothing_leave_room_for_what_they_did_not_see() -> None:
    """20 of 200 labelled, never an event, whatever the judge says: λ = 0, and Wilson's interval of 0 in 20 is left."""
    mean = powered_mean([1.0, 0.0] * 100, [*[0.0] * 20, *[None] * 180])
    assert (mean.value, mean.tuning, mean.low) == (0, 0, 0)
    assert mean.high == pytest.approx(wilson(0, 20).high)


def test_items_of_one_picture_count_as_one() -> None:
    random = np.random.default_rng(1)
    values = np.repeat(random.random(60) < 0.5, 4).astype(float).tolist()
    people = [*values[:120], *[None] * 120]
    people[0], people[4] = 1 - values[0], 1 - values[4]
    alone = powered_mean(values, people)
    grouped = powered_mean(values, people, clusters=[item // 4 for item in range(240)])
    assert grouped.value == alone.value
    assert grouped.high - grouped.low > 1.3 * (alone.high - alone.low)


def test_a_change_is_the_mean_of_differences() -> None:
    judged = [(True, False), (True, True), (False, False), (True, False)] * 5
    people = [(True, True), (True, True), (False, False), (True, False), *[None] * 16]
    change = powered_change(judged, people)
    differences = [-1, 0, 0, -1] * 5, [0, 0, 0, -1, *[None] * 16], Interval(-1, 1)
    assert change == powered_mean(*differences) and change.judged == -0.5
    assert powered_change(judged, people, small_sample=False) == powered_mean(*differences, small_sample=False)


def test_one_labelled_item_or_picture_is_not_enough() -> None:
    for people, clusters in (([1, None, None], None), ([1, 0, None], ["a", "a", "b"])):
        with pytest.raises(NotMeasured, match="1 items or clusters have people's labels"):
            powered_mean([1, 0, 1], people, clusters=clusters)


def test_values_outside_the_span_and_unequal_lengths_are_slips() -> None:
    with pytest.raises(ValueError, match="outside"):
        powered_mean([2, 0], [1, 0])
    with pytest.raises(ValueError, match="the judge has 2 items, people 3"):
        powered_mean([1, 0], [1, 0, None])


BEFORE, SAME = (0.9, 0.9), (0.9, 0.9)
LENIENT = (0.7, 0.95)
MENDED, STILL = (0.29, 0.04, 0.11, 0.56), (0.15, 0.15, 0.25, 0.45)
"""Shares of items fixed, broken, unsafe both times and never: 40 % unsafe before and 15 % after, or 40 % both times."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("items", "labelled", "after", "shares", "naive"),
    [
        (530, 120, LENIENT, MENDED, (0.75, 0.92)),
        (265, 80, LENIENT, MENDED, (0.82, 0.95)),
        (530, 120, SAME, MENDED, (0.35, 0.65)),
        (530, 120, LENIENT, STILL, (0.0, 0.05)),
    ],
)
def test_it_covers_the_true_change_where_the_judges_own_change_does_not(
    items: int, labelled: int, after: tuple[float, float], shares: tuple[float, ...], naive: tuple[float, float]
) -> None:
    """1,500 draws, judge's Se/Sp .90/.90 before, and .70/.95 or the same after; the change is -25 points, or none.

    The facts of the field have .951, .946, .946 and .943 for the powered interval, and .847, .894, .503 and .014 for
    the judge's own paired one. Three standard errors of a share of .95 in 1,500 draws are .017.
    """
    random = np.random.default_rng(0)
    covered = fooled = 0
    draws = 1500
    for _ in range(draws):
        kinds = random.choice(4, size=items, p=shares)
        old = (kinds == 0) | (kinds == 2)
        new = (kinds == 1) | (kinds == 2)
        seen = [_judge(random, old, BEFORE), _judge(random, new, after)]
        judged = list(zip(*(one.tolist() for one in seen), strict=True))
        people = [*zip(old.tolist(), new.tolist(), strict=True)][:labelled] + [None] * (items - labelled)
        truth = shares[1] - shares[0]
        powered = powered_change(judged, people)
        covered += powered.low <= truth <= powered.high
        differences = seen[1].astype(float) - seen[0].astype(float)
        half = Z * differences.std() / sqrt(items)
        fooled += abs(differences.mean() - truth) <= half
    assert 0.933 < covered / draws < 0.967
    assert naive[0] <= fooled / draws <= naive[1]


@pytest.mark.slow
@pytest.mark.parametrize("labelled", [10, 20, 30])
@pytest.mark.parametrize("shares", [MENDED, STILL, (0.6, 0.02, 0.1, 0.28), (0.06, 0.01, 0.02, 0.91)])
@pytest.mark.parametrize("after", [LENIENT, (1.0, 1.0)])
def test_it_covers_the_true_change_by_few_labels_too(
    labelled: int, shares: tuple[float, ...], after: tuple[float, float]
) -> None:
    """800 draws of 100 items; the change is -25, 0, -58 or -5 points, the judge errs as above or not at all.

    Wanted are 93 % at least; two standard errors of .93 in 800 draws are .018. The paper's interval covers 86 to 95 %.
    """
    random = np.random.default_rng(0)
    before = (1.0, 1.0) if after == (1.0, 1.0) else BEFORE
    covered = 0
    for _ in range(800):
        kinds = random.choice(4, size=100, p=shares)
        old, new = (kinds == 0) | (kinds == 2), (kinds == 1) | (kinds == 2)
        judged = list(zip(*(_judge(random, old, before), _judge(random, new, after)), strict=True))
        people = [*zip(old.tolist(), new.tolist(), strict=True)][:labelled] + [None] * (100 - labelled)
        powered = powered_change(judged, people)
        covered += powered.low <= shares[1] - shares[0] <= powered.high
    assert covered / 800 >= 0.93


def test_the_naive_interval_of_the_simulation_is_the_one_we_print() -> None:
    random = np.random.default_rng(3)
    old, new = random.random(400) < 0.4, random.random(400) < 0.2
    change = paired_change(old.tolist(), new.tolist())
    differences = new.astype(float) - old.astype(float)
    half = Z * differences.std() / sqrt(400)
    assert (change.low, change.high) == pytest.approx((change.value - half, change.value + half), abs=0.01)


def _judge(random: np.random.Generator, truth: np.ndarray, accuracy: tuple[float, float]) -> np.ndarray:
    sensitivity, specificity = accuracy
    return random.random(len(truth)) < np.where(truth, sensitivity, 1 - specificity)
