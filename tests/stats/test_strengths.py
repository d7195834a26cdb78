"""Bradley-Terry strengths: worked by hand, against another fit of the same model, and their intervals."""

import math
import random

import numpy as np
import pytest
from scipy.optimize import minimize

from spavl.stats import Match, NotMeasured, bradley_terry

TRUTH = {"a": 1.0, "b": 0.2, "c": -0.4, "d": -0.8}  # mean 0


def drawn_matches(seed: int) -> list[Match]:
    """300 contests of two rivals each, won with the model's own chances."""
    draw = random.Random(seed)
    matches = []
    for _ in range(300):
        one, other = draw.sample(sorted(TRUTH), 2)
        matches.append(Match(one, other, float(draw.random() < 1 / (1 + math.exp(TRUTH[other] - TRUTH[one])))))
    return matches


def test_two_rivals_are_worked_by_hand() -> None:
    """With the imagined contests x = log p solves 30 = 40/(1 + e^-2x) + 1/(1 + e^-x) - 1/2; without them log(3)/2."""
    found = bradley_terry([Match("a", "b", 1.0)] * 30 + [Match("b", "a", 1.0)] * 10)
    x = found["a"].value
    assert found["b"].value == pytest.approx(-x)
    assert 40 / (1 + math.exp(-2 * x)) + 1 / (1 + math.exp(-x)) - 0.5 == pytest.approx(30)
    assert x == pytest.approx(math.log(3) / 2, abs=0.02)
    assert list(found) == ["a", "b"] and found["a"].matches == 40


def test_ties_and_balanced_contests_leave_all_equal() -> None:
    found = bradley_terry([Match("a", "b", 0.5), Match("b", "c", 0.5), Match("c", "a", 0.5)])
    assert [strength.value for strength in found.values()] == pytest.approx([0, 0, 0], abs=1e-8)


def test_a_rival_that_never_loses_has_a_finite_strength() -> None:
    found = bradley_terry([Match("best", "worst", 1.0)] * 5)
    assert 0 < found["best"].value < 5


def test_the_fit_maximises_the_penalised_likelihood() -> None:
    """Against scipy's optimiser on log L + Σ ½ (log q_i + log(1 - q_i)), q_i the chance against the imagined rival."""
    matches = drawn_matches(0)
    names = sorted(TRUTH)

    def loss(x: np.ndarray) -> float:
        at = dict(zip(names, x, strict=True))
        own = sum(math.log1p(math.exp(at[loser] - at[winner])) for winner, loser in map(decided, matches))
        return own + sum(0.5 * (math.log1p(math.exp(-v)) + math.log1p(math.exp(v))) for v in x)

    def decided(match: Match) -> tuple[str, str]:
        return (match.first, match.second) if match.credit else (match.second, match.first)

    best = minimize(loss, np.zeros(4), tol=1e-12).x
    found = bradley_terry(matches)
    assert [found[name].value for name in names] == pytest.approx(list(best - best.mean()), abs=2e-3)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """160 intervals of 95 %: 152 expected, standard error 2.8 if they were independent; 10 below is 3.6 of them."""
    found = [bradley_terry(drawn_matches(seed), seed=seed) for seed in range(40)]
    hits = sum(one[name].low <= TRUTH[name] <= one[name].high for one in found for name in TRUTH)
    assert 142 <= hits <= 160


def test_contests_about_the_same_pictures_make_wider_intervals() -> None:
    """Ten verdicts on one picture are one piece of evidence: 40 contests in 4 clusters against 40 clusters."""
    matches = [Match("a", "b", float(number // 10 in (0, 1, 2))) for number in range(40)]
    alone, clustered = bradley_terry(matches)["a"], bradley_terry(matches, [n // 10 for n in range(40)])["a"]
    assert clustered.high - clustered.low > 1.5 * (alone.high - alone.low)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(NotMeasured):
        bradley_terry([])
    with pytest.raises(ValueError, match="a meets itself"):
        bradley_terry([Match("a", "a", 1.0)])
    with pytest.raises(ValueError, match="outside 0 to 1"):
        bradley_terry([Match("a", "b", 2.0)])
    with pytest.raises(ValueError, match="clusters of 2"):
        bradley_terry([Match("a", "b", 1.0)], [1, 2])
