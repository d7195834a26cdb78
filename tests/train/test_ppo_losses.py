"""PPO's losses by hand, their gradients, and the reward model's loss far from its goal."""

import math

import pytest
import torch

from spavl.train.advantages import real_tokens
from spavl.train.ppo_losses import policy_loss, value_loss

REAL = real_tokens(torch.tensor([2, 1]), 2)


def test_where_nothing_has_moved_the_ratio_is_one_and_the_gradient_is_the_advantage() -> None:
    """-(1 - 2 + 3) / 3 tokens; d loss / d log π = -A / 3, and 0 behind the end."""
    now = torch.tensor([[-1.0, -2.0], [-3.0, -9.0]], requires_grad=True)
    advantages = torch.tensor([[1.0, -2.0], [3.0, 50.0]])
    found = policy_loss(now, now.detach(), advantages, REAL, clip=0.2, total=3)
    assert found.loss.item() == pytest.approx(-2 / 3)
    assert (found.clipped.item(), found.kl.item()) == (0, 0)
    found.loss.backward()
    torch.testing.assert_close(now.grad, torch.tensor([[-1.0, 2.0], [-3.0, 0.0]]) / 3)


@pytest.mark.parametrize(
    ("ratio", "advantage", "objective", "slope"),
    [
        (1.5, 1.0, 1.2, 0.0),  # it has gained enough
        (0.5, 1.0, 0.5, 0.5),  # it must come back
        (1.5, -1.0, -1.5, -1.5),  # it must come back
        (0.5, -1.0, -0.8, 0.0),  # it has lost enough
        (1.1, 2.0, 2.2, 2.2),
    ],
)
def test_the_objective_is_clipped_on_the_side_that_would_pay(
    ratio: float, advantage: float, objective: float, slope: float
) -> None:
    now = torch.tensor([[math.log(ratio)]], requires_grad=True)
    real = torch.ones(1, 1, dtype=torch.bool)
    found = policy_loss(now, torch.zeros(1, 1), torch.tensor([[advantage]]), real, clip=0.2, total=1)
    found.loss.backward()
    assert found.loss.item() == pytest.approx(-objective)
    assert now.grad is not None
    assert now.grad.item() == pytest.approx(-slope)
    assert found.clipped.item() == (abs(ratio - 1) > 0.2)
    assert found.kl.item() == pytest.approx(ratio - 1 - math.log(ratio), abs=1e-6)


@pytest.mark.parametrize(
    ("then", "now", "divergence"),
    [((5, 5), (0.9, 0.1), 0.5108), ((9, 1), (0.5, 0.5), 0.3681)],
)
def test_the_tokens_that_were_drawn_say_how_far_the_policy_is_from_who_drew_them(
    then: tuple[int, int], now: tuple[float, float], divergence: float
) -> None:
    """Ten tokens in the proportion of the policy that drew them give KL(then || now), not KL(now || then).

    .5 ln(.5 / .9) + .5 ln(.5 / .1) = -.2939 + .8047 = .5108;  .9 ln(.9 / .5) + .1 ln(.1 / .5) = .5290 - .1609 = .3681.
    """
    tokens = [0] * then[0] + [1] * then[1]
    old = torch.tensor([[math.log(then[token] / 10) for token in tokens]])
    new = torch.tensor([[math.log(now[token]) for token in tokens]])
    real = torch.ones(1, 10, dtype=torch.bool)
    found = policy_loss(new, old, torch.zeros(1, 10), real, clip=0.2, total=10)
    assert found.kl.item() == pytest.approx(divergence, abs=1e-4)


def test_passes_of_a_minibatch_add_up_to_the_whole() -> None:
    torch.manual_seed(0)
    now, then, advantages = (torch.randn(4, 3) for _ in range(3))
    real = real_tokens(torch.tensor([3, 1, 2, 3]), 3)
    whole = policy_loss(now, then, advantages, real, 0.2, total=9)
    parts = [
        policy_loss(now[rows], then[rows], advantages[rows], real[rows], 0.2, total=9) for rows in ([0, 1], [2, 3])
    ]
    torch.testing.assert_close(sum(part.loss for part in parts), whole.loss)
    torch.testing.assert_close(sum(part.kl for part in parts), whole.kl)


def test_the_value_loss_takes_the_worse_of_the_clipped_and_the_plain_error() -> None:
    """V 3, before 1, ε .5, R 2: clipped to 1.5, errors 1 and .25, so 1. V 1.2, before 1, R 2: .64. Halved, over 2."""
    now, then = torch.tensor([[3.0, 1.2]]), torch.tensor([[1.0, 1.0]])
    loss = value_loss(now, then, torch.tensor([[2.0, 2.0]]), torch.ones(1, 2, dtype=torch.bool), clip=0.5, total=2)
    assert loss.item() == pytest.approx((1 + 0.64) / 4)


def test_a_value_that_ran_past_its_goal_within_one_rollout_gets_no_gradient() -> None:
    """V 3 moved up from 1 by more than ε towards R 9: the clipped error, the worse, does not depend on V."""
    now = torch.tensor([[3.0]], requires_grad=True)
    value_loss(now, torch.tensor([[1.0]]), torch.tensor([[9.0]]), torch.ones(1, 1, dtype=torch.bool), 0.5, 1).backward()
    assert now.grad is not None
    assert now.grad.item() == 0
