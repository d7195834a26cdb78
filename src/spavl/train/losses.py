"""The sum of the losses that `train.loss` names: what each reads of a batch, pairs in order of safety, BCO's state.

The formulas themselves stand in `loss_formulas`. Knows no model and no file. Shapes and signs as there.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from spavl.config import TrainConfig
from spavl.loss_config import (
    BcoPairLossConfig,
    HingeLossConfig,
    IpoLossConfig,
    MdpoLossConfig,
    Need,
    RobustLossConfig,
    SafeDpoLossConfig,
    SftLossConfig,
    SigmoidLossConfig,
    SimpoLossConfig,
)
from spavl.train.loss_formulas import (
    SAFE,
    UNSAFE,
    LogRatios,
    PairLengths,
    PairLogprobs,
    PairSafety,
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
from spavl.train_config import PairSettings, TrainSettings

T = TypeVar("T")


class CorruptedImage(NamedTuple):
    """log π(y_w|x') of the chosen answer when the image is corrupted, summed like the others."""

    policy: Tensor  # (B,)
    reference: Tensor  # (B,)


class RewardShift(NamedTuple):
    """BCO's δ, the mean of all rewards of earlier steps: state of the training, to be saved in its checkpoints.

    The mean of previous rewards is MPO's δ (arXiv 2411.10442, section 4.1); TRL 1.16 has none. It stands still within
    an optimiser step, so that the step does not depend on how its batch is cut.
    """

    value: Tensor  # (), δ of this step
    total: Tensor  # (), sum of the rewards seen
    number: Tensor  # (), how many; totals and numbers of several processes add up

    @classmethod
    def start(cls) -> "RewardShift":
        """Returns the state before the first step: δ = 0, nothing seen."""
        return cls(*(torch.zeros((), dtype=torch.float64) for _ in range(3)))

    def seen(self, chosen_reward: Tensor, rejected_reward: Tensor) -> "RewardShift":
        """Returns the state with these rewards, (B,) each, taken into account; δ moves only at `stepped`."""
        rewards = torch.cat([chosen_reward, rejected_reward]).detach().double()  # (2B,)
        return RewardShift(self.value, self.total + rewards.sum().to(self.total), self.number + len(rewards))

    def fresh(self) -> "RewardShift":
        """Returns the state with nothing seen, in which a process counts what it sees in a step."""
        return RewardShift.start()._replace(value=self.value)

    def joined(self, counts: Sequence["RewardShift"]) -> "RewardShift":
        """Returns the state with what several processes have seen."""
        total, number = (sum((one[place] for one in counts), self[place]) for place in (1, 2))
        return self._replace(total=total, number=number)

    def stepped(self) -> "RewardShift":
        """Returns the state for the next optimiser step: δ is the mean of what was seen."""
        return self._replace(value=self.total / self.number.clamp(min=1))


class LossInputs(NamedTuple):
    """What the losses may read about the pairs of a batch; what may be None is there where a loss `needs` it."""

    policy: PairLogprobs
    lengths: PairLengths
    reference: PairLogprobs | None = None
    safety: PairSafety | None = None
    corrupted: CorruptedImage | None = None
    shift: RewardShift | None = None

    @property
    def ratios(self) -> LogRatios:
        """The log-ratios to the reference, which must be there."""
        reference = _required(self.reference, "reference")
        return LogRatios(self.policy.chosen - reference.chosen, self.policy.rejected - reference.rejected)


class PairLosses(NamedTuple):
    """The loss of each pair and the rewards it rests on; only the loss carries a gradient."""

    loss: Tensor  # (B,), the weighted sum of the terms
    chosen_reward: Tensor  # (B,), of the safer answer where SafeDPO has put the pair in order
    rejected_reward: Tensor  # (B,)
    terms: dict[str, Tensor]
    """Kind -> (B,), each loss before its weight."""
    shift: RewardShift | None
    """The state after this batch where one was given: pass it to the next, `stepped` after the last of a step."""
    read: LossInputs
    """The batch as the losses read it: in order of safety with SafeDPO, else as it was given."""
    kept: Tensor
    """(B,), False at pairs that SafeDPO leaves out; their loss is 0."""


# -- pairs in order of safety ------------------------------------------------------------------------------------------


def safety_ordered(batch: LossInputs) -> LossInputs:
    """SafeDPO's T (arXiv 2505.20065): an unsafe chosen answer and a safe rejected one change places."""
    safety = _required(batch.safety, "safety")
    swap = (safety.chosen == UNSAFE) & (safety.rejected == SAFE)  # (B,)

    def ordered(chosen: Tensor, rejected: Tensor) -> tuple[Tensor, Tensor]:
        return torch.where(swap, rejected, chosen), torch.where(swap, chosen, rejected)

    return batch._replace(
        policy=PairLogprobs(*ordered(*batch.policy)),
        lengths=PairLengths(*ordered(*batch.lengths)),
        reference=PairLogprobs(*ordered(*batch.reference)) if batch.reference else None,
        safety=PairSafety(*ordered(*safety)),
    )


def both_unsafe(safety: PairSafety) -> Tensor:
    """Returns (B,), True at pairs of two unsafe answers, which T leaves out."""
    return (safety.chosen == UNSAFE) & (safety.rejected == UNSAFE)


# -- the sum -----------------------------------------------------------------------------------------------------------


def needs(config: PairSettings, field: Need) -> bool:
    """Returns whether any loss reads this field of `LossInputs`; without, nothing is computed for it."""
    return isinstance(config, TrainSettings) and any(field in loss.needs for loss in config.loss)


def preference_losses(batch: LossInputs, config: TrainConfig) -> PairLosses:
    """Returns the weighted sum of the configured losses for each pair, not yet averaged.

    With `safe_dpo` among them, the pairs are put in order of safety before any loss reads them, and those it drops get
    the loss 0: they add nothing to the gradient, but a mean over the batch counts them.

    Raises:
        ValueError: The batch lacks something that a loss reads.
    """
    kept = torch.ones_like(batch.policy.chosen, dtype=torch.bool)  # (B,), False at pairs that are left out
    for loss in config.loss:
        if isinstance(loss, SafeDpoLossConfig):
            batch = safety_ordered(batch)
            if loss.both_unsafe == "drop":
                kept = ~both_unsafe(_required(batch.safety, "safety"))
    terms = {loss.kind: torch.where(kept, TERMS[loss.kind](batch, loss, config.beta), 0.0) for loss in config.loss}
    weighted = [loss.weight * terms[loss.kind] for loss in config.loss]
    chosen_reward, rejected_reward = _rewards(batch, config)
    return PairLosses(
        loss=torch.stack(weighted).sum(dim=0),  # (B,)
        chosen_reward=chosen_reward,
        rejected_reward=rejected_reward,
        terms={kind: term.detach() for kind, term in terms.items()},
        shift=batch.shift.seen(chosen_reward[kept], rejected_reward[kept]) if batch.shift else None,
        read=batch,
        kept=kept,
    )


def _sigmoid(batch: LossInputs, loss: SigmoidLossConfig, beta: float) -> Tensor:
    return sigmoid_losses(batch.ratios, beta, loss.label_smoothing)


def _robust(batch: LossInputs, loss: RobustLossConfig, beta: float) -> Tensor:
    return robust_losses(batch.ratios, beta, loss.label_smoothing)


def _ipo(batch: LossInputs, _: IpoLossConfig, beta: float) -> Tensor:
    return ipo_losses(batch.ratios, batch.lengths, beta)


def _hinge(batch: LossInputs, _: HingeLossConfig, beta: float) -> Tensor:
    return hinge_losses(batch.ratios, beta)


def _simpo(batch: LossInputs, loss: SimpoLossConfig, _: float) -> Tensor:
    return simpo_losses(batch.policy, batch.lengths, loss.beta, loss.gamma)


def _bco_pair(batch: LossInputs, _: BcoPairLossConfig, beta: float) -> Tensor:
    return bco_pair_losses(batch.ratios, beta, _required(batch.shift, "shift").value)


def _sft(batch: LossInputs, _: SftLossConfig, __: float) -> Tensor:
    return sft_losses(batch.policy, batch.lengths)


def _safe_dpo(batch: LossInputs, loss: SafeDpoLossConfig, beta: float) -> Tensor:
    return safe_dpo_losses(batch.ratios, _required(batch.safety, "safety"), beta, loss.margin)


def _mdpo(batch: LossInputs, loss: MdpoLossConfig, beta: float) -> Tensor:
    corrupted = _required(batch.corrupted, "corrupted")
    return mdpo_losses(batch.ratios, corrupted.policy - corrupted.reference, beta, loss.anchor)


TERMS: dict[str, Callable[[LossInputs, Any, float], Tensor]] = {
    "sigmoid": _sigmoid,
    "robust": _robust,
    "ipo": _ipo,
    "hinge": _hinge,
    "simpo": _simpo,
    "bco_pair": _bco_pair,
    "sft": _sft,
    "safe_dpo": _safe_dpo,
    "mdpo": _mdpo,
}
"""Kind -> how it reads the batch, its own settings and `train.beta`."""


def _rewards(batch: LossInputs, config: TrainConfig) -> tuple[Tensor, Tensor]:
    """Returns DPO's implicit rewards, or without a reference SimPO's (arXiv 2405.14734, eq. 4), without gradient."""
    if batch.reference is not None:
        return config.beta * batch.ratios.chosen.detach(), config.beta * batch.ratios.rejected.detach()
    beta = next((loss.beta for loss in config.loss if isinstance(loss, SimpoLossConfig)), config.beta)
    chosen, rejected = batch.policy.chosen / batch.lengths.chosen, batch.policy.rejected / batch.lengths.rejected
    return beta * chosen.detach(), beta * rejected.detach()


def _required(value: T | None, field: Need) -> T:
    if value is None:
        raise ValueError(
            f"A configured loss reads LossInputs.{field}, which is None; ask `needs` what a batch must have."
        )
    return value
