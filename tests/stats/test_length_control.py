"""The win rate at equal length, beside statsmodels' regression and on planted preferences."""

import numpy as np
import pytest
import statsmodels.api as sm

from spavl.stats import NotMeasured, length_controlled_win_rate
from spavl.stats.wins import CREDIT, Outcome


def test_it_is_the_intercept_of_a_logistic_regression() -> None:
    random = np.random.default_rng(0)
    lengths = random.normal(20, 40, size=200)
    outcomes = _outcomes(random, 0.4 + 1.5 * np.tanh(lengths / 40))
    rate = length_controlled_win_rate(outcomes, lengths.tolist(), draws=10)
    lean = np.tanh(lengths / np.sqrt((lengths**2).mean()))
    model = sm.GLM([CREDIT[one] for one in outcomes], sm.add_constant(lean), family=sm.families.Binomial())
    theta = model.fit(tol=1e-12).params[0]
    assert rate.value == pytest.approx(1 / (1 + np.exp(-theta)), abs=1e-9)


def test_a_judge_that_looks_at_length_alone_prefers_nobody_at_equal_length() -> None:
    """The longer answer wins four times of five; the candidate is longer in three of four, so it wins 65 % plainly."""
    outcomes: list[Outcome] = (["win"] * 4 + ["loss"]) * 60 + (["loss"] * 4 + ["win"]) * 20
    rate = length_controlled_win_rate(outcomes, [10.0] * 300 + [-10.0] * 100)
    assert sum(CREDIT[one] for one in outcomes) / 400 == pytest.approx(0.65)
    assert rate.value == pytest.approx(0.5, abs=1e-6)
    assert rate.low < 0.5 < rate.high


def test_equal_lengths_leave_the_plain_rate() -> None:
    rate = length_controlled_win_rate(["win", "win", "tie", "loss"], [0, 0, 0, 0])
    assert rate.value == pytest.approx(2.5 / 4, abs=1e-6)


def test_outcomes_without_exception_stay_within_0_and_1() -> None:
    rate = length_controlled_win_rate(["win"] * 20, list(range(20)), draws=50)
    assert 0.99 < rate.value <= 1
    assert rate.high <= 1


def test_outcomes_that_are_all_alike_have_the_width_of_wilsons_interval() -> None:
    """Two ties: Wilson's upper limit for 0 of 2 is z²/(2 + z²) = 0.6576; of the way from 0.5 to either end."""
    rate = length_controlled_win_rate(["tie", "tie"], [3.0, -2.0])
    assert (rate.value, rate.low, rate.high) == pytest.approx((0.5, 0.5 - 0.5 * 0.6576, 0.5 + 0.5 * 0.6576), abs=1e-4)


def test_a_cluster_is_drawn_as_a_whole() -> None:
    outcomes: list[Outcome] = [outcome for outcome in ("win", "loss", "win", "win", "loss", "win") for _ in range(6)]
    lengths = [float(place % 5 - 2) for place in range(36)]
    alone = length_controlled_win_rate(outcomes, lengths)
    grouped = length_controlled_win_rate(outcomes, lengths, clusters=[place // 6 for place in range(36)])
    assert grouped.high - grouped.low > 1.5 * (alone.high - alone.low)


def test_nothing_to_measure_and_unequal_numbers_are_said() -> None:
    with pytest.raises(NotMeasured):
        length_controlled_win_rate([], [])
    with pytest.raises(ValueError, match="2 outcomes, 1 lengths"):
        length_controlled_win_rate(["win", "loss"], [1.0])


def _outcomes(random: np.random.Generator, logits: np.ndarray) -> list[Outcome]:
    draws = random.random(len(logits)) < 1 / (1 + np.exp(-logits))
    return ["tie" if place % 9 == 0 else "win" if won else "loss" for place, won in enumerate(draws)]
