"""The DPO loss against values worked by hand and a naive formula."""

import math

import torch

from spavl.train.losses import PairLogprobs, dpo_losses, sft_losses, summed


def pair(chosen: float, rejected: float) -> PairLogprobs:
    return PairLogprobs(torch.tensor([chosen]), torch.tensor([rejected]))


def test_a_policy_equal_to_its_reference_has_loss_log_2() -> None:
    """Both ratios are 0, and -log σ(0) = log 2."""
    losses = dpo_losses(pair(-3.0, -7.0), pair(-3.0, -7.0), beta=0.1)
    assert losses.loss.item() == torch.tensor(math.log(2)).item()
    assert losses.chosen_reward.item() == losses.rejected_reward.item() == 0


def test_loss_and_rewards_worked_by_hand() -> None:
    """β = 0.5; chosen reward 0.5·(-10+12) = 1, rejected 0.5·(-9+5) = -2; margin 3; loss log(1+e^-3) = 0.048587."""
    losses = dpo_losses(pair(-10.0, -9.0), pair(-12.0, -5.0), beta=0.5)
    assert losses.chosen_reward.item() == 1.0
    assert losses.rejected_reward.item() == -2.0
    assert abs(losses.loss.item() - 0.048587) < 1e-6


def test_gradient_worked_by_hand() -> None:
    """dL/d log π(y_w) = -β σ(-margin) (their eq. below 7): -0.5 · σ(-3) = -0.5 · 0.047426 = -0.023713."""
    chosen, rejected = torch.tensor([-10.0], requires_grad=True), torch.tensor([-9.0], requires_grad=True)
    dpo_losses(PairLogprobs(chosen, rejected), pair(-12.0, -5.0), beta=0.5).loss.sum().backward()
    assert chosen.grad is not None and rejected.grad is not None
    assert abs(chosen.grad.item() + 0.023713) < 1e-6
    assert abs(rejected.grad.item() - 0.023713) < 1e-6


def test_agrees_with_the_naive_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b, c, d = (-20 * torch.rand(50, generator=generator, dtype=torch.float64) for _ in range(4))
    naive = -torch.log(1 / (1 + torch.exp(-(0.3 * (a - c) - 0.3 * (b - d)))))
    assert torch.allclose(dpo_losses(PairLogprobs(a, b), PairLogprobs(c, d), 0.3).loss, naive, atol=1e-12)


def test_a_hopelessly_wrong_pair_still_has_a_gradient() -> None:
    """Margin -1000: the loss is 1000 and the gradient -β; log(sigmoid + ε) would give 11.5 and 0."""
    chosen = torch.tensor([-1000.0], requires_grad=True)
    loss = dpo_losses(PairLogprobs(chosen, torch.tensor([0.0])), pair(0.0, 0.0), beta=1.0).loss
    loss.sum().backward()
    assert loss.item() == 1000
    assert chosen.grad is not None and chosen.grad.item() == -1


def test_what_lies_outside_the_mask_does_not_count() -> None:
    """-1 - 2 = -3 in the first row, -4 in the second; zeros inside the mask are answer tokens like any other."""
    per_token = torch.tensor([[-1.0, -2.0, torch.nan], [0.0, -4.0, -torch.inf]])
    mask = torch.tensor([[True, True, False], [True, True, False]])
    assert summed(per_token, mask).tolist() == [-3.0, -4.0]


def test_the_chosen_answers_own_loss_is_its_mean_over_tokens() -> None:
    """-(-12) / 4 = 3 and -(-5) / 10 = 0.5; the rejected answers do not count."""
    policy = PairLogprobs(torch.tensor([-12.0, -5.0]), torch.tensor([-99.0, torch.inf]))
    assert torch.equal(sft_losses(policy, torch.tensor([4, 10])), torch.tensor([3.0, 0.5]))
