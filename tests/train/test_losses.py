"""What the losses read, their sum, pairs in order of safety, BCO's state; every kind of `TERMS`, with no list here.

The values are worked by hand on the pair of `worked_pair`; the formulas have their own tests.
"""

import re
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from safetensors.torch import load, save
from tests.train.worked_pair import LENGTHS, POLICY, REFERENCE, flags, near
from torch import Tensor

from spavl.config import TrainConfig
from spavl.loss_config import Need, PreferenceLossConfig
from spavl.train.loss_formulas import SAFE, UNKNOWN, UNSAFE, PairLengths, PairLogprobs, PairSafety
from spavl.train.losses import TERMS, CorruptedImage, LossInputs, RewardShift, needs, preference_losses

MPO: list[dict[str, Any]] = [{"kind": "sigmoid", "weight": 0.8}, {"kind": "bco_pair", "weight": 0.2}, {"kind": "sft"}]
WORKED: dict[str, tuple[dict[str, Any], float]] = {
    "sigmoid": ({"label_smoothing": 0.1}, 0.348587),
    "robust": ({"label_smoothing": 0.1}, -0.326413),
    "ipo": ({}, 2.25),
    "hinge": ({}, 0.0),
    "simpo": ({"beta": 2.0, "gamma": 1.0}, 0.048587),
    "bco_pair": ({}, 0.440190),
    "sft": ({}, 2.5),
    "safe_dpo": ({"margin": 1.0}, 0.126928),
    "mdpo": ({"anchor": 1.0}, 0.943147),
}
"""Kind -> settings other than its defaults, and its value at `full()` with β = 0.5, from the formula's own test."""


def config(*losses: dict[str, Any], beta: float = 0.5) -> TrainConfig:
    return TrainConfig.model_validate({"model": "tiny", "beta": beta, "loss": list(losses)})


def full() -> LossInputs:
    """The pair with all that a loss may read; -14 and -13 under the corrupted image make its log-ratio -1."""
    corrupted = CorruptedImage(torch.tensor([-14.0]), torch.tensor([-13.0]))
    return LossInputs(POLICY, LENGTHS, REFERENCE, flags(SAFE, UNSAFE), corrupted, RewardShift.start())


# -- the sum -----------------------------------------------------------------------------------------------------------


def everything(policy: PairLogprobs, reference: PairLogprobs, safety: PairSafety) -> LossInputs:
    corrupted = CorruptedImage(policy.chosen.detach() - 2, reference.chosen)
    lengths = PairLengths(*(torch.full(policy.chosen.shape, size) for size in (4, 2)))
    return LossInputs(policy, lengths, reference, safety, corrupted, RewardShift.start())


@pytest.mark.parametrize("kind", TERMS)
@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_loss_and_gradient_are_finite_at_margins_of_ten_thousand_nats(kind: str, beta: float) -> None:
    """Where log(sigmoid) is -inf; a pair that is the wrong way round is pulled right, by each answer that is read."""
    chosen = torch.tensor([0.0, -1e4, -1e4], requires_grad=True)
    rejected = torch.tensor([-1e4, 0.0, -1e4], requires_grad=True)
    reference = PairLogprobs(torch.zeros(3), torch.zeros(3))
    safety = PairSafety(torch.tensor([1, 1, 0]), torch.tensor([0, 1, 0]))
    batch = everything(PairLogprobs(chosen, rejected), reference, safety)
    losses = preference_losses(batch, config({"kind": kind}, beta=beta))
    losses.loss.sum().backward()
    assert losses.loss.isfinite().all()
    assert chosen.grad is not None and chosen.grad.isfinite().all() and chosen.grad[1] < 0
    if rejected.grad is not None:
        assert rejected.grad.isfinite().all() and rejected.grad[1] > 0


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
    assert {kind: one.item() for kind, one in losses.terms.items()} == pytest.approx(
        {"sigmoid": 0.048587, "bco_pair": 0.440190, "sft": 2.5}, abs=1e-6
    )


@pytest.mark.parametrize("kind", TERMS)
def test_every_kind_reaches_its_formula_with_its_settings_and_weight(kind: str) -> None:
    """The values of the formulas' own tests, twice for the weight 2."""
    assert kind in WORKED, f"work a value of {kind} by hand in test_loss_formulas.py, and put it in WORKED"
    settings, wanted = WORKED[kind]
    losses = preference_losses(full(), config({"kind": kind, "weight": 2.0, **settings}))
    assert near(losses.loss, 2 * wanted)
    assert near(losses.terms[kind], wanted)


def test_without_a_reference_rewards_are_simpos() -> None:
    """2 · -10/4 = -5 and 2 · -9/2 = -9 (their eq. 4)."""
    losses = preference_losses(LossInputs(POLICY, LENGTHS), config({"kind": "simpo", "beta": 2.0}))
    assert (losses.chosen_reward.item(), losses.rejected_reward.item()) == (-5.0, -9.0)


@pytest.mark.parametrize("field", get_args(Need))
@pytest.mark.parametrize("kind", TERMS)
def test_a_loss_needs_what_it_reads_and_nothing_else(kind: str, field: Need) -> None:
    """Without a field that it needs it is refused by name; without any other it is what it was."""
    alone, lacking = config({"kind": kind}), full()._replace(**{field: None})
    if needs(alone, field):
        with pytest.raises(ValueError, match=rf"LossInputs\.{field}"):
            preference_losses(lacking, alone)
    else:
        assert torch.equal(preference_losses(lacking, alone).loss, preference_losses(full(), alone).loss)


def test_several_losses_need_what_one_of_them_does() -> None:
    assert needs(config({"kind": "simpo"}, {"kind": "sigmoid"}), "reference")
    assert not needs(config({"kind": "simpo"}, {"kind": "sft"}), "reference")


def test_every_kind_that_can_be_configured_has_its_term() -> None:
    configs = get_args(get_args(PreferenceLossConfig)[0])
    assert [one.model_fields["kind"].default for one in configs] == list(TERMS)


def test_the_readme_names_every_kind() -> None:
    page = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (kinds,) = re.findall(r"^  loss: +# (.*)$", page, re.MULTILINE)
    assert kinds.split() == list(TERMS)


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
