"""Rewards, returns and advantages by hand, and the mistakes that others made with them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spavl.train.advantages import (
    generalised_advantages,
    group_relative,
    leave_one_out,
    real_tokens,
    token_rewards,
    whiten,
)

LENGTHS = torch.tensor([3, 1])


def test_a_token_pays_for_leaving_the_reference_and_the_last_one_gets_the_score() -> None:
    """β = .5: differences .2, -.4, .6 cost -.1, +.2, -.3; the score 2 comes at place 2, and 5 at place 0."""
    policy = torch.tensor([[-1.0, -2.0, -0.5], [-1.0, 9.0, 9.0]])
    reference = torch.tensor([[-1.2, -1.6, -1.1], [-2.0, -9.0, -9.0]])
    rewards = token_rewards(torch.tensor([2.0, 5.0]), policy, reference, LENGTHS, kl_weight=0.5)
    torch.testing.assert_close(rewards, torch.tensor([[-0.1, 0.2, 1.7], [4.5, 0.0, 0.0]]))


def test_a_certain_token_counts_like_any_other() -> None:
    """Log-probability 0, frequent in bfloat16: others have taken it for padding, and lost its price."""
    rewards = token_rewards(torch.zeros(1), torch.zeros(1, 2), torch.tensor([[-1.0, -1.0]]), torch.tensor([2]), 1.0)
    assert rewards.tolist() == [[-1.0, -1.0]]


def test_a_score_that_is_not_finite_stops_with_the_answer() -> None:
    with pytest.raises(ValueError, match=r"answers \[1\] have no finite reward"):
        token_rewards(torch.tensor([1.0, float("nan")]), torch.zeros(2, 3), torch.zeros(2, 3), LENGTHS, 0.1)


def test_advantages_are_worked_by_hand() -> None:
    """γ = .5, λ = .5; rewards 0, 0, 8; values 1, 2, 4.

    δ_2 = 8 - 4 = 4, δ_1 = .5 · 4 - 2 = 0, δ_0 = .5 · 2 - 1 = 0; A_2 = 4, A_1 = .25 · 4 = 1, A_0 = .25.
    """
    rewards, values = torch.tensor([[0.0, 0.0, 8.0]]), torch.tensor([[1.0, 2.0, 4.0]])
    advantages, returns = generalised_advantages(rewards, values, torch.tensor([3]), discount=0.5, smoothing=0.5)
    assert advantages.tolist() == [[0.25, 1.0, 4.0]]
    assert returns.tolist() == [[1.25, 3.0, 8.0]]


def test_undiscounted_returns_are_what_is_still_to_come() -> None:
    """γ = λ = 1, the paper's: rewards 1, 2, 3 leave returns 6, 5, 3 whatever the values."""
    rewards, values = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[7.0, -3.0, 2.0]])
    advantages, returns = generalised_advantages(rewards, values, torch.tensor([3]), discount=1.0, smoothing=1.0)
    torch.testing.assert_close(returns, torch.tensor([[6.0, 5.0, 3.0]]))
    torch.testing.assert_close(advantages, returns - values)


@given(st.integers(0, 4), st.floats(-5, 5), st.floats(0, 1), st.floats(0, 1))
@settings(deadline=None, max_examples=50)
def test_what_lies_behind_an_answer_has_no_say(padding: int, rubbish: float, discount: float, smoothing: float) -> None:
    torch.manual_seed(0)
    rewards, values, lengths = torch.randn(2, 3), torch.randn(2, 3), torch.tensor([3, 2])
    rewards[1, 2:], values[1, 2:] = 0.0, 0.0
    wide = torch.full((2, 3 + padding), rubbish)
    wide_values = wide.clone()
    wide[:, :3], wide_values[:, :3] = rewards, values
    wide_values[1, 2:] = rubbish
    narrow = generalised_advantages(rewards, values, lengths, discount, smoothing)
    broad = generalised_advantages(
        torch.where(real_tokens(lengths, 3 + padding), wide, 0.0), wide_values, lengths, discount, smoothing
    )
    torch.testing.assert_close(broad.advantages[:, :3], narrow.advantages)
    torch.testing.assert_close(broad.returns[:, :3], narrow.returns)
    assert not broad.advantages[:, 3:].any()


def test_one_answer_is_the_same_alone_and_in_company() -> None:
    torch.manual_seed(1)
    rewards, values, lengths = torch.randn(4, 5), torch.randn(4, 5), torch.tensor([5, 2, 4, 1])
    rewards = torch.where(real_tokens(lengths, 5), rewards, 0.0)
    together = generalised_advantages(rewards, values, lengths).advantages
    for row in range(4):
        alone = generalised_advantages(rewards[row : row + 1], values[row : row + 1], lengths[row : row + 1])
        torch.testing.assert_close(alone.advantages[0], together[row])


def test_whitened_tokens_have_mean_0_and_variance_1_and_padding_stays_0() -> None:
    """1, 3, 5 and 7 have mean 4 and variance 5."""
    advantages = torch.tensor([[1.0, 3.0, 5.0], [7.0, 99.0, 99.0]])
    white = whiten(advantages, real_tokens(LENGTHS, 3))
    expected = torch.tensor([[-3.0, -1.0, 1.0], [3.0, 0.0, 0.0]]) / 5**0.5
    torch.testing.assert_close(white, expected)


def test_an_answer_is_set_against_the_mean_of_the_others() -> None:
    """Scores 1, 2, 6: the others' means are 4, 3.5, 1.5."""
    assert leave_one_out(torch.tensor([[1.0, 2.0, 6.0]])).tolist() == [[-3.0, -1.5, 4.5]]


def test_a_group_is_measured_in_its_own_spread_and_equal_answers_tell_nothing() -> None:
    """Scores 0 and 2: mean 1, standard deviation sqrt(2)."""
    scores = torch.tensor([[0.0, 2.0], [3.0, 3.0]])
    expected = torch.tensor([[-1.0, 1.0], [0.0, 0.0]]) / 2**0.5
    torch.testing.assert_close(group_relative(scores), expected)


@pytest.mark.parametrize("score", [0.3, -0.1, 1e6 / 3])
def test_equal_answers_tell_nothing_whatever_their_number(score: float) -> None:
    """Eight times one number, and the same with one of them a unit in the last place further: no answer is better.

    In float32 the mean of eight times 0.3 is not 0.3, and what is left is as large as the epsilon.
    """
    scores = torch.full((2, 8), score)
    scores[1, 3] = torch.nextafter(scores[1, 3], torch.tensor(10 * score))
    assert group_relative(scores).tolist() == [[0.0] * 8] * 2


def test_a_small_spread_that_is_no_rounding_counts() -> None:
    """0.001 and 0.002: mean 0.0015, standard deviation 0.0005 √2."""
    expected = torch.tensor([[-1.0, 1.0]]) / 2**0.5
    torch.testing.assert_close(group_relative(torch.tensor([[0.001, 0.002]])), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("relative", [leave_one_out, group_relative])
def test_one_answer_a_prompt_has_nobody_to_be_set_against(relative: object) -> None:
    with pytest.raises(ValueError, match="two answers a prompt"):
        relative(torch.zeros(3, 1))  # type: ignore[operator]


@pytest.mark.parametrize("lengths", [[0, 2], [1, 4]])
def test_lengths_that_cannot_be_are_refused(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="in rows of 3"):
        real_tokens(torch.tensor(lengths), 3)
