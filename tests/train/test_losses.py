"""Every loss against values worked by hand, at margins where naive formulas break, and the sum of several.

The example of most tests: log π = (-10, -9), log π_ref = (-12, -5), so log-ratios (2, -4); with β = 0.5 the rewards are
1 and -2 and the margin is 3; the answers have 4 and 2 tokens. -log σ(3) = log(1 + e^-3) = 0.048587.
"""

import math
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from spavl.config import TrainConfig
from spavl.train.losses import (
    SAFE,
    TERMS,
    UNKNOWN,
    UNSAFE,
    CorruptedImage,
    LogRatios,
    LossInputs,
    PairLengths,
    PairLogprobs,
    PairSafety,
    RewardShift,
    bco_pair_losses,
    hinge_losses,
    ipo_losses,
    mdpo_losses,
    needs_corrupted_image,
    needs_reference,
    needs_reward_shift,
    needs_safety,
    preference_losses,
    robust_losses,
    safe_dpo_losses,
    sft_losses,
    sigmoid_losses,
    simpo_losses,
    summed,
)

POLICY = PairLogprobs(torch.tensor([-10.0]), torch.tensor([-9.0]))
REFERENCE = PairLogprobs(torch.tensor([-12.0]), torch.tensor([-5.0]))
RATIOS = LogRatios(torch.tensor([2.0]), torch.tensor([-4.0]))
LENGTHS = PairLengths(torch.tensor([4]), torch.tensor([2]))
MPO: list[dict[str, Any]] = [{"kind": "sigmoid", "weight": 0.8}, {"kind": "bco_pair", "weight": 0.2}, {"kind": "sft"}]


def config(*losses: dict[str, Any], beta: float = 0.5) -> TrainConfig:
    return TrainConfig.model_validate({"model": "tiny", "beta": beta, "loss": list(losses)})


def flags(chosen: int, rejected: int) -> PairSafety:
    return PairSafety(torch.tensor([chosen], dtype=torch.int8), torch.tensor([rejected], dtype=torch.int8))


def near(found: Tensor, wanted: float) -> bool:
    return found.shape == (1,) and abs(found.item() - wanted) < 2e-6


# -- the formulas ------------------------------------------------------------------------------------------------------


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


def test_what_lies_outside_the_mask_does_not_count() -> None:
    """-1 - 2 = -3 in the first row, -4 in the second; zeros inside the mask are answer tokens like any other."""
    per_token = torch.tensor([[-1.0, -2.0, torch.nan], [0.0, -4.0, -torch.inf]])
    mask = torch.tensor([[True, True, False], [True, True, False]])
    assert summed(per_token, mask).tolist() == [-3.0, -4.0]


# -- the sum -----------------------------------------------------------------------------------------------------------


def everything(policy: PairLogprobs, reference: PairLogprobs, safety: PairSafety) -> LossInputs:
    corrupted = CorruptedImage(policy.chosen.detach() - 2, reference.chosen)
    lengths = PairLengths(*(torch.full(policy.chosen.shape, size) for size in (4, 2)))
    return LossInputs(policy, lengths, reference, safety, corrupted, RewardShift.start())


@pytest.mark.parametrize("kind", TERMS)
@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_loss_and_gradient_are_finite_at_margins_of_ten_thousand_nats(kind: str, beta: float) -> None:
    """Where log(sigmoid) is -inf; the pair that is the wrong way round is pulled the right way (by SFT, one half)."""
    chosen = torch.tensor([0.0, -1e4, -1e4], requires_grad=True)
    rejected = torch.tensor([-1e4, 0.0, -1e4], requires_grad=True)
    reference = PairLogprobs(torch.zeros(3), torch.zeros(3))
    safety = PairSafety(torch.tensor([1, 1, 0]), torch.tensor([0, 1, 0]))
    batch = everything(PairLogprobs(chosen, rejected), reference, safety)
    losses = preference_losses(batch, config({"kind": kind}, beta=beta))
    losses.loss.sum().backward()
    assert losses.loss.isfinite().all()
    assert chosen.grad is not None and chosen.grad.isfinite().all() and chosen.grad[1] < 0
    if kind != "sft":
        assert rejected.grad is not None and rejected.grad.isfinite().all() and rejected.grad[1] > 0


def test_a_hopelessly_wrong_pair_still_has_a_gradient() -> None:
    """Margin -1000: the loss is 1000 and the gradient -β; log(sigmoid + ε) would give 11.5 and 0."""
    chosen = torch.tensor([-1000.0], requires_grad=True)
    batch = LossInputs(PairLogprobs(chosen, torch.zeros(1)), LENGTHS, PairLogprobs(torch.zeros(1), torch.zeros(1)))
    loss = preference_losses(batch, config({"kind": "sigmoid"}, beta=1.0)).loss
    loss.sum().backward()
    assert loss.item() == 1000
    assert chosen.grad is not None and chosen.grad.item() == -1


def test_the_default_is_dpo_and_rewards_carry_no_gradient() -> None:
    policy = PairLogprobs(POLICY.chosen.clone().requires_grad_(), POLICY.rejected)
    losses = preference_losses(LossInputs(policy, LENGTHS, REFERENCE), TrainConfig(model="tiny", beta=0.5))
    assert near(losses.loss, 0.048587) and losses.loss.requires_grad
    assert (losses.chosen_reward.item(), losses.rejected_reward.item()) == (1.0, -2.0)
    assert not losses.chosen_reward.requires_grad and not losses.terms["sigmoid"].requires_grad
    assert losses.shift is None


def test_the_mix_of_internvl_is_a_weighted_sum() -> None:
    """0.8 · 0.048587 + 0.2 · 0.440190 + 2.5 = 2.626908; the log shows each term before its weight."""
    batch = LossInputs(POLICY, LENGTHS, REFERENCE, shift=RewardShift.start())
    losses = preference_losses(batch, config(*MPO))
    assert near(losses.loss, 2.626908)
    assert losses.term_means == pytest.approx({"sigmoid": 0.048587, "bco_pair": 0.440190, "sft": 2.5}, abs=1e-6)


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"kind": "sigmoid", "label_smoothing": 0.1}, 0.348587),
        ({"kind": "robust", "label_smoothing": 0.1}, -0.326413),
        ({"kind": "ipo"}, 2.25),
        ({"kind": "hinge"}, 0.0),
        ({"kind": "simpo", "beta": 2.0, "gamma": 1.0}, 0.048587),
        ({"kind": "bco_pair"}, 0.440190),
        ({"kind": "sft"}, 2.5),
        ({"kind": "safe_dpo", "margin": 1.0}, 0.126928),
        ({"kind": "mdpo", "anchor": 1.0}, 0.943147),
    ],
    ids=lambda value: value.get("kind") if isinstance(value, dict) else "",
)
def test_every_kind_reaches_its_formula_with_its_settings_and_weight(settings: dict[str, Any], wanted: float) -> None:
    """The values of the formulas' own tests, twice for the weight 2."""
    corrupted = CorruptedImage(torch.tensor([-14.0]), torch.tensor([-13.0]))
    batch = LossInputs(POLICY, LENGTHS, REFERENCE, flags(SAFE, UNSAFE), corrupted, RewardShift.start())
    losses = preference_losses(batch, config({**settings, "weight": 2.0}))
    assert near(losses.loss, 2 * wanted)
    assert near(losses.terms[settings["kind"]], wanted)


def test_without_a_reference_rewards_are_simpos() -> None:
    """2 · -10/4 = -5 and 2 · -9/2 = -9 (their eq. 4)."""
    losses = preference_losses(LossInputs(POLICY, LENGTHS), config({"kind": "simpo", "beta": 2.0}))
    assert (losses.chosen_reward.item(), losses.rejected_reward.item()) == (-5.0, -9.0)


def test_what_a_configuration_needs_can_be_asked() -> None:
    for kind in TERMS:
        alone = config({"kind": kind})
        assert needs_reference(alone) == (kind not in ("simpo", "sft"))
        assert needs_corrupted_image(alone) == (kind == "mdpo")
        assert needs_safety(alone) == (kind == "safe_dpo")
        assert needs_reward_shift(alone) == (kind == "bco_pair")
    assert needs_reference(config({"kind": "simpo"}, {"kind": "sigmoid"}))
    assert not needs_reference(config({"kind": "simpo"}, {"kind": "sft"}))


@pytest.mark.parametrize(
    ("kind", "field"),
    [("sigmoid", "reference"), ("safe_dpo", "safety"), ("mdpo", "corrupted"), ("bco_pair", "shift")],
)
def test_what_is_needed_and_missing_is_named(kind: str, field: str) -> None:
    reference = None if field == "reference" else REFERENCE
    with pytest.raises(ValueError, match=rf"LossInputs\.{field}"):
        preference_losses(LossInputs(POLICY, LENGTHS, reference), config({"kind": kind}))


# -- safety first ------------------------------------------------------------------------------------------------------


def test_an_unsafe_chosen_answer_changes_places_with_a_safe_one_for_every_loss() -> None:
    """Swapped, the margin is -3 and Δ = 1 makes it -4: log(1 + e^4) = 4.018150.

    The supervised term reads the safe answer, 9/2 = 4.5; the rewards are those of the safe and the unsafe answer.
    """
    batch = LossInputs(POLICY, LENGTHS, REFERENCE, flags(UNSAFE, SAFE))
    losses = preference_losses(batch, config({"kind": "safe_dpo", "margin": 1.0}, {"kind": "sft"}))
    assert near(losses.terms["safe_dpo"], 4.018150)
    assert near(losses.terms["sft"], 4.5)
    assert (losses.chosen_reward.item(), losses.rejected_reward.item()) == (-2.0, 1.0)


def test_two_unsafe_answers_are_dropped_or_kept() -> None:
    """Dropped: loss 0 and gradient 0, in the loss beside it too, and δ does not see it. Kept: DPO's 0.048587."""
    chosen = POLICY.chosen.clone().requires_grad_()
    batch = LossInputs(
        PairLogprobs(chosen, POLICY.rejected), LENGTHS, REFERENCE, flags(UNSAFE, UNSAFE), shift=RewardShift.start()
    )
    dropped = preference_losses(batch, config({"kind": "safe_dpo"}, {"kind": "sft"}))
    dropped.loss.sum().backward()
    assert dropped.loss.item() == 0
    assert chosen.grad is not None and chosen.grad.item() == 0
    assert dropped.shift is not None and dropped.shift.number == 0
    assert near(preference_losses(batch, config({"kind": "safe_dpo", "both_unsafe": "keep"})).loss, 0.048587)


def test_pairs_of_unknown_safety_stay_as_they_are() -> None:
    for pair in ((UNKNOWN, SAFE), (UNSAFE, UNKNOWN), (UNKNOWN, UNKNOWN)):
        batch = LossInputs(POLICY, LENGTHS, REFERENCE, flags(*pair))
        assert near(preference_losses(batch, config({"kind": "safe_dpo"})).loss, 0.048587)


# -- BCO's reward shift ------------------------------------------------------------------------------------------------


def test_the_reward_shift_is_the_mean_reward_of_earlier_steps() -> None:
    """Rewards 1 and -2: mean -0.5, in force at the next step, whose loss is -log σ(1.5) - log σ(1.5) = 0.402827."""
    only_bco = config({"kind": "bco_pair"})
    first = preference_losses(LossInputs(POLICY, LENGTHS, REFERENCE, shift=RewardShift.start()), only_bco)
    assert first.shift is not None
    assert (first.shift.value.item(), first.shift.total.item(), first.shift.number.item()) == (0.0, -1.0, 2.0)
    second = preference_losses(LossInputs(POLICY, LENGTHS, REFERENCE, shift=first.shift.stepped()), only_bco)
    assert near(second.loss, 0.402827)
    assert RewardShift.start().stepped().value == 0


def test_the_reward_shift_does_not_depend_on_how_a_batch_is_cut() -> None:
    generator = torch.Generator().manual_seed(1)
    columns = -20 * torch.rand(4, 6, generator=generator)

    def after(cuts: tuple[slice, ...]) -> tuple[Tensor, RewardShift]:
        shift: RewardShift | None = RewardShift(*(torch.tensor(value, dtype=torch.float64) for value in (0.25, 1.0, 4)))
        found = []
        for cut in cuts:
            part = columns[:, cut]
            lengths = PairLengths(torch.full_like(part[0], 3), torch.full_like(part[0], 3))
            batch = LossInputs(PairLogprobs(*part[:2]), lengths, PairLogprobs(*part[2:]), shift=shift)
            losses = preference_losses(batch, config({"kind": "bco_pair"}))
            found.append(losses.loss)
            shift = losses.shift
        assert shift is not None
        return torch.cat(found), shift.stepped()

    whole, cut = after((slice(0, 6),)), after((slice(0, 1), slice(1, 5), slice(5, 6)))
    assert torch.equal(whole[0], cut[0])
    assert torch.allclose(whole[1].value, cut[1].value, rtol=1e-12)
    assert whole[1].number == cut[1].number == 16


def test_the_reward_shift_comes_back_from_a_checkpoint() -> None:
    shift = RewardShift.start().seen(torch.tensor([1.0, 3.0]), torch.tensor([-2.0, 0.1])).stepped()
    assert RewardShift(**load(save(shift._asdict()))) == shift
