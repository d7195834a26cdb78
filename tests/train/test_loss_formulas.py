"""Every formula against values worked by hand on the pair of `worked_pair`."""

import math

import torch
from tests.train.worked_pair import LENGTHS, POLICY, RATIOS, flags, near

from spavl.train.loss_formulas import (
    SAFE,
    UNKNOWN,
    UNSAFE,
    LogRatios,
    PairLengths,
    PairLogprobs,
    bco_pair_losses,
    hinge_losses,
    ipo_losses,
    mdpo_losses,
    robust_losses,
    safe_dpo_losses,
    sft_losses,
    sigmoid_losses,
    simpo_losses,
)


def test_dpo_worked_by_hand() -> None:
    """log(1 + e^-3); and a policy equal to its reference has log 2."""
    assert near(sigmoid_losses(RATIOS, 0.5), 0.048587)
    assert near(sigmoid_losses(LogRatios(torch.zeros(1), torch.zeros(1)), 0.5), math.log(2))


def test_gradient_of_dpo_worked_by_hand() -> None:
    """dL/d log π(y_w) = -β σ(-margin) (their eq. below 7): -0.5 · σ(-3) = -0.5 · 0.047426 = -0.023713."""
    ratios = LogRatios(*(side.clone().requires_grad_() for side in RATIOS))
    sigmoid_losses(ratios, 0.5).sum().backward()
    assert ratios.chosen.grad is not None and near(ratios.chosen.grad, -0.023713)
    assert ratios.rejected.grad is not None and near(ratios.rejected.grad, 0.023713)


def test_dpo_agrees_with_the_naive_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (10 - 20 * torch.rand(50, generator=generator, dtype=torch.float64) for _ in range(2))
    naive = -torch.log(1 / (1 + torch.exp(-(0.3 * a - 0.3 * b))))
    assert torch.allclose(sigmoid_losses(LogRatios(a, b), 0.3), naive, atol=1e-12)


def test_conservative_dpo_worked_by_hand() -> None:
    """ε = 0.1: 0.9 · 0.048587 + 0.1 · 3.048587 = 0.348587."""
    assert near(sigmoid_losses(RATIOS, 0.5, label_smoothing=0.1), 0.348587)


def test_robust_dpo_worked_by_hand() -> None:
    """ε = 0.1: (0.9 · 0.048587 - 0.1 · 3.048587) / 0.8 = -0.326413."""
    assert near(robust_losses(RATIOS, 0.5, 0.1), -0.326413)


def test_robust_dpo_over_flipped_labels_is_dpo_over_clean_ones() -> None:
    """E = (1-ε) L(y_w, y_l) + ε L(y_l, y_w) = -log σ(3) for every ε: what the loss is made for."""
    for rate in (0.05, 0.2, 0.4):
        flipped = LogRatios(RATIOS.rejected, RATIOS.chosen)
        expected = (1 - rate) * robust_losses(RATIOS, 0.5, rate) + rate * robust_losses(flipped, 0.5, rate)
        assert near(expected, 0.048587)


def test_ipo_worked_by_hand() -> None:
    """The mean log-ratios differ by h = 2/4 - (-4)/2 = 2.5; target 1/(2 · 0.5) = 1, (2.5 - 1)² = 2.25."""
    assert near(ipo_losses(RATIOS, LENGTHS, 0.5), 2.25)


def test_hinge_worked_by_hand() -> None:
    """Margin 3 is beyond 1: 0; the other way round 1 + 3 = 4."""
    assert near(hinge_losses(RATIOS, 0.5), 0.0)
    assert near(hinge_losses(LogRatios(RATIOS.rejected, RATIOS.chosen), 0.5), 4.0)


def test_simpo_worked_by_hand() -> None:
    """2 · (-10/4 + 9/2) - 1 = 3."""
    assert near(simpo_losses(POLICY, LENGTHS, beta=2.0, gamma=1.0), 0.048587)


def test_bco_worked_by_hand() -> None:
    """δ = 0: -log σ(1) - log σ(2) = 0.313262 + 0.126928; δ = 1: -log σ(0) - log σ(3) = 0.693147 + 0.048587."""
    assert near(bco_pair_losses(RATIOS, 0.5, 0.0), 0.440190)
    assert near(bco_pair_losses(RATIOS, 0.5, torch.tensor(1.0, dtype=torch.float64)), 0.741734)


def test_the_chosen_answers_own_loss_is_its_mean_over_tokens() -> None:
    """-(-12) / 4 = 3 and -(-5) / 10 = 0.5; the rejected answers do not count."""
    policy = PairLogprobs(torch.tensor([-12.0, -5.0]), torch.tensor([-99.0, torch.inf]))
    lengths = PairLengths(torch.tensor([4, 10]), torch.tensor([1, 1]))
    assert torch.equal(sft_losses(policy, lengths), torch.tensor([3.0, 0.5]))


def test_safe_dpo_asks_its_margin_of_safe_over_unsafe_only() -> None:
    """Δ = 1: -log σ(3 - 1) = 0.126928; (h_l - h_w) is 0 for two safe or two unsafe answers, and where it is unknown."""
    assert near(safe_dpo_losses(RATIOS, flags(SAFE, UNSAFE), 0.5, 1.0), 0.126928)
    for pair in ((SAFE, SAFE), (UNSAFE, UNSAFE), (SAFE, UNKNOWN), (UNKNOWN, UNSAFE)):
        assert near(safe_dpo_losses(RATIOS, flags(*pair), 0.5, 1.0), 0.048587)


def test_mdpo_worked_by_hand() -> None:
    """Log-ratio -1, reward -0.5 under the corrupted image.

    DPO 0.048587, CoPO -log σ(1 + 0.5) = 0.201413, AncPO -log σ(1) = 0.313262, and with δ = 1 -log σ(0) = 0.693147.
    """
    corrupted = torch.tensor([-1.0])
    assert near(mdpo_losses(RATIOS, corrupted, 0.5, anchor=0.0), 0.563262)
    assert near(mdpo_losses(RATIOS, corrupted, 0.5, anchor=1.0), 0.943147)
