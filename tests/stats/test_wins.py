"""Win rates from verdicts in both orders."""

import pytest

from spavl.records import OrderVerdict
from spavl.stats import NotMeasured, Outcome, outcome_of_orders, wilson, win_rate

SWAPPED: dict[Outcome, Outcome] = {"win": "loss", "loss": "win", "tie": "tie", "inconsistent": "inconsistent"}


@pytest.mark.parametrize(
    ("candidate_first", "candidate_second", "outcome"),
    [
        ("first", "second", "win"),
        ("second", "first", "loss"),
        ("tie", "tie", "tie"),
        ("first", "first", "inconsistent"),
        ("second", "second", "inconsistent"),
        ("first", "tie", "inconsistent"),
        ("tie", "first", "inconsistent"),
    ],
)
def test_two_orders_make_one_outcome(
    candidate_first: OrderVerdict, candidate_second: OrderVerdict, outcome: Outcome
) -> None:
    assert outcome_of_orders(candidate_first, candidate_second) == outcome


def test_ties_and_flips_count_half_and_are_reported() -> None:
    """(5 + 2 / 2 + 1 / 2) / 10 = .65; 9 of 10 consistent."""
    result = win_rate(["win"] * 5 + ["tie"] * 2 + ["loss"] * 2 + ["inconsistent"])
    assert (result.rate.value, result.rate.n) == (0.65, 10)
    assert (result.wins, result.ties, result.losses, result.inconsistent) == (5, 2, 2, 1)
    assert result.consistency == wilson(9, 10)
    assert 0 <= result.rate.low < 0.65 < result.rate.high <= 1


def test_a_judge_that_always_prefers_the_first_answer_has_measured_nothing() -> None:
    """Every item flips: win rate .5 by construction, consistency 0, and the interval says how little is known."""
    result = win_rate(["inconsistent"] * 20)
    assert (result.rate.value, result.consistency.value) == (0.5, 0)
    assert result.rate.low == pytest.approx(0.5 - 0.5 * wilson(0, 20).high)


def test_swapping_the_sides_mirrors_the_win_rate() -> None:
    outcomes: list[Outcome] = ["win", "win", "loss", "tie", "inconsistent", "win", "win", "loss"]
    there, back = win_rate(outcomes).rate, win_rate([SWAPPED[outcome] for outcome in outcomes]).rate
    assert (back.value, back.low, back.high) == pytest.approx((1 - there.value, 1 - there.high, 1 - there.low))


def test_clusters_widen_the_interval() -> None:
    outcomes: list[Outcome] = ["win"] * 30 + ["loss"] * 30
    alone, grouped = win_rate(outcomes).rate, win_rate(outcomes, clusters=[item // 5 for item in range(60)]).rate
    assert grouped.high - grouped.low > 1.5 * (alone.high - alone.low)


def test_no_items_are_not_measured() -> None:
    with pytest.raises(NotMeasured):
        win_rate([])
