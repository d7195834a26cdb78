"""What tokens were worth, worked by hand; padding, certainty and token ids have no say."""

import pytest
import torch
from tests.train.rl.material import rl_settings
from torch import Tensor

from spavl.rl_config import CostConfig, FixedKlConfig, JudgeRewardConfig
from spavl.train.render import Row
from spavl.train.rl.experience import Known, Scores, groups, weigh
from spavl.train.rl.steering import Steering

# two answers to one prompt: three tokens, of which the second is certain (log-probability 0), and one token
POLICY = [[-1.0, 0.0, -0.5], [-2.0]]
REFERENCE = [[-1.5, 0.0, -1.0], [-1.0]]
VALUES = [[0.5, 1.0, 1.5], [0.25]]
SCORES = Scores(torch.tensor([2.0, -1.0]), None)


def padded(rows: list[list[float]], width: int, filler: float) -> Tensor:
    return torch.tensor([row + [filler] * (width - len(row)) for row in rows])


def known(width: int = 3, filler: float = 0.0) -> Known:
    """Returns the two answers in rows of some width, whatever stands behind their ends."""
    rows = [Row("p", "img-0", (1,), ((0, 0, 0),)), Row("p", "img-0", (1,), ((0,),))]
    return Known(
        rows,
        torch.tensor([3, 1]),
        padded(POLICY, width, filler),
        padded(REFERENCE, width, 3 * filler),
        {"reward": padded(VALUES, width, filler), "cost": padded(VALUES, width, filler)},
        tokens=0,
    )


def test_tokens_of_ppo_are_worth_their_advantage() -> None:
    """β = 0.1, γ = λ = 1, so a return is what follows: r = [-0.05, 0, -0.05 + 2], [0.1 - 1].

    Returns: [1.9, 1.95, 1.95], [-0.9]; less the values: [1.4, 0.95, 0.45], [-1.15].
    """
    config = rl_settings(kl=FixedKlConfig(weight=0.1), smoothing=1.0, whiten=False)
    worth = weigh(known(), SCORES, Steering.start(config), config)
    assert worth.returns["reward"].flatten().tolist() == pytest.approx([1.9, 1.95, 1.95, -0.9, 0, 0])
    assert worth.advantages.flatten().tolist() == pytest.approx([1.4, 0.95, 0.45, -1.15, 0, 0])


def test_whitening_is_over_the_whole_round_and_leaves_returns() -> None:
    """Mean of [1.4, 0.95, 0.45, -1.15] is 0.4125, their deviation 0.962662: 0.9875 / 0.962662 = 1.0258."""
    config = rl_settings(kl=FixedKlConfig(weight=0.1), smoothing=1.0)
    worth = weigh(known(), SCORES, Steering.start(config), config)
    assert worth.advantages[0, 0] == pytest.approx(1.0258, abs=1e-4)
    real = worth.advantages[known().real]
    assert float(real.mean()) == pytest.approx(0, abs=1e-6)
    assert float(real.var(correction=0)) == pytest.approx(1, abs=1e-5)
    assert worth.returns["reward"][0].tolist() == pytest.approx([1.9, 1.95, 1.95])


@pytest.mark.parametrize("method", ["ppo", "rloo", "grpo"])
def test_what_stands_behind_an_answer_changes_nothing(method: str) -> None:
    config = rl_settings(method=method)
    narrow = weigh(known(), SCORES, Steering.start(config), config)
    wide = weigh(known(width=9, filler=7.0), SCORES, Steering.start(config), config)
    assert torch.equal(wide.advantages[:, :3], narrow.advantages)
    assert not wide.advantages[:, 3:].any() and not wide.advantages[1, 1:].any()


def test_rloo_compares_answers_with_the_price_of_divergence_taken_off() -> None:
    """Σ k1 = 0.5 + 0 + 0.5 = 1 and -1; 2 - 0.1 = 1.9 and -1 + 0.1 = -0.9; each less the other: ±2.8, on every token."""
    config = rl_settings(method="rloo", kl=FixedKlConfig(weight=0.1))
    worth = weigh(known(), SCORES, Steering.start(config), config)
    assert worth.advantages.flatten().tolist() == pytest.approx([2.8, 2.8, 2.8, -2.8, 0, 0])


def test_grpo_measures_in_the_groups_deviations() -> None:
    """1.9 and -0.9: mean 0.5, deviation (n - 1) 1.979899: ±0.707107."""
    config = rl_settings(method="grpo", kl=FixedKlConfig(weight=0.1))
    worth = weigh(known(), SCORES, Steering.start(config), config)
    assert worth.advantages.flatten().tolist() == pytest.approx([0.707107] * 3 + [-0.707107, 0, 0], abs=1e-5)


def test_an_answer_whose_rivals_have_no_score_has_no_advantage() -> None:
    config = rl_settings(method="rloo")
    alone = known()._replace(rows=[known().rows[0], known().rows[1]._replace(prompt=(2,))])
    assert groups(alone.rows) == [[0], [1]]
    assert not weigh(alone, SCORES, Steering.start(config), config).advantages.any()


def test_harm_is_weighed_against_reward() -> None:
    """λ = 1, costs 1 and 0, divergence free: A_cost = [1 - 0.5, 1 - 1, 1 - 1.5], [-0.25]; (A_reward - A_cost) / 2.

    A_reward = [2 - 0.5, 1, 0.5], [-1.25].
    """
    cost = CostConfig(source=JudgeRewardConfig(weight=-1), start=1.0)
    config = rl_settings(kl=FixedKlConfig(weight=0.0), smoothing=1.0, whiten=False, cost=cost)
    scores = Scores(SCORES.rewards, torch.tensor([1.0, 0.0]))
    worth = weigh(known(), scores, Steering.start(config), config)
    assert worth.advantages.flatten().tolist() == pytest.approx([0.5, 0.5, 0.5, -0.5, 0, 0])
    assert worth.returns["cost"][0].tolist() == pytest.approx([1, 1, 1])


def test_divergence_is_paid_from_the_reward_alone() -> None:
    """λ = 1, β = 0.1, so A_reward = [1.4, 0.95, 0.45], [-1.15] as above; costs 1 and 0 make A_cost as above.

    A_cost = [0.5, 0, -0.5], [-0.25], without a price of divergence; (A_reward - A_cost) / 2.
    """
    cost = CostConfig(source=JudgeRewardConfig(weight=-1), start=1.0)
    config = rl_settings(kl=FixedKlConfig(weight=0.1), smoothing=1.0, whiten=False, cost=cost)
    worth = weigh(known(), Scores(SCORES.rewards, torch.tensor([1.0, 0.0])), Steering.start(config), config)
    assert worth.advantages.flatten().tolist() == pytest.approx([0.45, 0.475, 0.475, -0.45, 0, 0])
    assert worth.returns["cost"].flatten().tolist() == pytest.approx([1, 1, 1, 0, 0, 0])


def test_a_score_that_is_no_number_is_refused() -> None:
    config = rl_settings()
    with pytest.raises(ValueError, match=r"answers \[1\] have no finite reward"):
        weigh(known(), Scores(torch.tensor([1.0, torch.nan]), None), Steering.start(config), config)
