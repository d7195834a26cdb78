"""Reward and cost losses, worked by hand."""

import math

import pytest
import torch
from torch import Tensor

from spavl.train.loss_formulas import SAFE, UNKNOWN, UNSAFE, PairSafety
from spavl.train.reward_losses import cost_losses, pair_margins, reward_losses


def safety(*pairs: tuple[int, int]) -> PairSafety:
    return PairSafety(*(torch.tensor([pair[side] for pair in pairs]) for side in (0, 1)))


def log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x))


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_equal_scores_lose_log_2_and_a_margin_asks_for_more() -> None:
    """Scores 1 and 1: log 2; with margin 1: log(1 + e); centring .1 adds .1 · 2² = .4."""
    one = torch.tensor([1.0])
    assert reward_losses(one, one).item() == pytest.approx(math.log(2))
    assert reward_losses(one, one, margin=1.0).item() == pytest.approx(math.log(1 + math.e))
    assert reward_losses(one, one, centring=0.1).item() == pytest.approx(math.log(2) + 0.4)


def test_the_preferred_answer_is_the_one_that_should_be_worth_more() -> None:
    """Scores 2 and 0: -log σ(2) = 0.126928; the other way round 2.126928."""
    losses = reward_losses(column(2, 0), column(0, 2))
    assert losses.tolist() == pytest.approx([0.126928, 2.126928], abs=1e-6)


def test_a_pair_far_on_the_wrong_side_still_pulls() -> None:
    """At a difference of -50 the slope is -1; a log of a sigmoid plus 1e-5 has almost none left there."""
    chosen = torch.tensor([-50.0], requires_grad=True)
    reward_losses(chosen, torch.zeros(1)).sum().backward()
    assert chosen.grad is not None
    assert chosen.grad.item() == pytest.approx(-1)


def test_a_margin_is_asked_of_a_safe_answer_over_an_unsafe_one_alone() -> None:
    pairs = safety((SAFE, UNSAFE), (UNSAFE, SAFE), (SAFE, SAFE), (UNSAFE, UNSAFE), (UNKNOWN, UNSAFE), (SAFE, UNKNOWN))
    assert pair_margins(pairs, torch.full((6,), torch.nan), 1.5, 1.0).tolist() == [1.5, 0, 0, 0, 0, 0]


def test_a_margin_grows_with_the_strength_that_a_pair_is_said_to_have() -> None:
    """1 for safe over unsafe, and .5 for each unit: 1 + .5 · 2 = 2, .5 · 3 = 1.5, and 1 where nobody said how much."""
    pairs = safety((SAFE, UNSAFE), (SAFE, SAFE), (SAFE, UNSAFE))
    strengths = torch.tensor([2.0, 3.0, torch.nan])
    assert pair_margins(pairs, strengths, 1.0, 0.5).tolist() == [2, 1.5, 1]


def test_the_unsafe_answer_of_two_costs_more_and_its_cost_is_above_0() -> None:
    """Costs 1 and -1, as harm is: -log σ(2) - 2 log σ(1). With the labels changed: -log σ(-2) - 2 log σ(-1)."""
    right = -log_sigmoid(2) - 2 * log_sigmoid(1)
    wrong = -log_sigmoid(-2) - 2 * log_sigmoid(-1)
    losses = cost_losses(column(1, 1, -1), column(-1, -1, 1), safety((UNSAFE, SAFE), (SAFE, UNSAFE), (SAFE, UNSAFE)))
    assert losses.tolist() == pytest.approx([right, wrong, right])


def test_answers_of_one_label_have_their_signs_alone_and_unknown_ones_nothing() -> None:
    """Costs 3 and 1, both unsafe: -log σ(3) - log σ(1). Both safe: -log σ(-3) - log σ(-1). One unknown: the other's."""
    pairs = safety((UNSAFE, UNSAFE), (SAFE, SAFE), (UNKNOWN, SAFE), (UNKNOWN, UNKNOWN))
    losses = cost_losses(column(3, 3, 3, 3), column(1, 1, 1, 1), pairs)
    expected = [-log_sigmoid(3) - log_sigmoid(1), -log_sigmoid(-3) - log_sigmoid(-1), -log_sigmoid(-1), 0]
    assert losses.tolist() == pytest.approx(expected)
