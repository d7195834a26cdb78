"""Prices and scales by hand."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spavl.train.controllers import AdaptiveKl, CostMultiplier, FixedKl, RunningScale

SCORES = st.lists(st.floats(-100, 100), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("divergence", "weight"),
    [
        (6.0, 0.1),
        (12.0, 0.1 * (1 + 0.2 * 8 / 40)),  # twice the target is +1, clipped to .2
        (6.6, 0.1 * (1 + 0.1 * 8 / 40)),
        (0.0, 0.1 * (1 - 0.2 * 8 / 40)),
    ],
)
def test_the_price_follows_the_divergence(divergence: float, weight: float) -> None:
    assert AdaptiveKl(0.1, target=6.0, horizon=40).after(divergence, answers=8).weight == pytest.approx(weight)


@pytest.mark.parametrize("answers", [8, 48, 10_000])
def test_a_price_stays_above_0_however_many_answers_a_round_has(answers: int) -> None:
    """48 answers at a horizon of 8 would make it 0.1 (1 - 0.2 x 6) = -0.02; it falls by a fifth at most."""
    assert AdaptiveKl(0.1, 6.0, 8).after(0.0, answers).weight == pytest.approx(0.08)


def test_a_fixed_price_stays() -> None:
    assert FixedKl(0.1).after(100.0, 8) == FixedKl(0.1)


@given(SCORES, SCORES)
def test_scores_in_two_batches_are_the_scores_in_one(first: list[float], second: list[float]) -> None:
    scale = RunningScale().after(first).after(second)
    every = first + second
    assert scale.seen == len(every)
    assert scale.mean == pytest.approx(statistics.fmean(every), abs=1e-9)
    assert scale.squares == pytest.approx(len(every) * statistics.pvariance(every), abs=1e-6)


def test_a_score_is_measured_in_deviations_and_cut() -> None:
    """-2, 0, 2 have standard deviation 2: 3 becomes 1.5, 100 the limit; the mean is not taken off."""
    scale = RunningScale().after([-2.0, 0.0, 2.0])
    assert (scale.scaled(3.0, 5.0), scale.scaled(100.0, 5.0), scale.scaled(0.0, 5.0)) == (1.5, 5.0, 0.0)


def test_one_score_or_equal_scores_change_no_score() -> None:
    assert RunningScale().after([7.0]).deviation == 1
    assert RunningScale().after([7.0, 7.0]).deviation == 1
    assert RunningScale().after([]) == RunningScale()


@pytest.mark.parametrize("score", [0.1, -1 / 3, 0.0, 1e9 / 7])
def test_equal_scores_have_no_deviation_whatever_their_number(score: float) -> None:
    """Three times 0.1 add up to 0.30000000000000004, so their squares are not 0; 0.1 must stay 0.1, not the limit."""
    scale = RunningScale().after([score] * 3).after([score] * 5)
    assert scale.deviation == 1
    assert RunningScale().after([0.1] * 3).scaled(0.1, limit=10.0) == 0.1


def test_a_small_deviation_beside_a_large_mean_counts() -> None:
    """999.99 and 1000.01: deviation 0.01 √2, a part of 1.4e-5 of the mean."""
    assert RunningScale().after([999.99, 1000.01]).deviation == pytest.approx(0.01 * math.sqrt(2))


def test_harm_gets_dearer_while_there_is_too_much_of_it() -> None:
    """λ 1; cost .5 above the threshold at rate .1 multiplies by e^.05; it stops at the most."""
    price = CostMultiplier(0.0, rate=0.1, threshold=-0.5, most=2.0, least=0.5)
    assert price.after(0.0).weight == pytest.approx(math.exp(0.05))
    assert price.after(-1.0).weight == pytest.approx(math.exp(-0.05))
    assert price.after(1000.0).weight == pytest.approx(2.0)


def test_harm_that_was_cheap_for_long_is_dear_again_soon() -> None:
    """200 rounds at -1 would leave λ = e^-20 = 2e-9; from 0.05 ten rounds at 2 make it 0.05 e^2 = 0.369."""
    price = CostMultiplier(0.0, rate=0.1, threshold=0.0, most=20.0, least=0.05)
    for _ in range(200):
        price = price.after(-1.0)
    assert price.weight == pytest.approx(0.05)
    for _ in range(10):
        price = price.after(2.0)
    assert price.weight == pytest.approx(0.05 * math.exp(2))


def test_what_is_not_finite_stops() -> None:
    for broken in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="finite"):
            AdaptiveKl(0.1, 6.0, 40).after(broken, 8)
        with pytest.raises(ValueError, match="finite"):
            RunningScale().after([1.0, broken])
        with pytest.raises(ValueError, match="finite"):
            CostMultiplier(0.0, 0.1, 0.0, 2.0, 0.5).after(broken)
