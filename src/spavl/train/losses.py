"""The preference losses: summed log-probabilities in, one loss a pair out. Pure; knows no model and no file.

Each formula is a function of tensors; `preference_losses` adds up those that `train.loss` names.
Shapes: B pairs, R answer positions. A mask is True where a position holds an answer token. In the formulas x is the
prompt with its image, y_w the chosen and y_l the rejected answer, r̂(y) = β log π(y|x)/π_ref(y|x) the implicit reward.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, relu

from spavl.config import TrainConfig
from spavl.loss_config import (
    BcoPairLossConfig,
    HingeLossConfig,
    IpoLossConfig,
    MdpoLossConfig,
    RobustLossConfig,
    SafeDpoLossConfig,
    SftLossConfig,
    SigmoidLossConfig,
    SimpoLossConfig,
)

SAFE, UNSAFE, UNKNOWN = 1, 0, -1
"""What a safety flag may be."""

T = TypeVar("T")


class PairLogprobs(NamedTuple):
    """log π(y|x) of both answers of each pair, natural logarithm, summed over the answer with its end token."""

    chosen: Tensor  # (B,)
    rejected: Tensor  # (B,)


class LogRatios(NamedTuple):
    """log π(y|x)/π_ref(y|x) of both answers of each pair."""

    chosen: Tensor  # (B,)
    rejected: Tensor  # (B,)


class PairLengths(NamedTuple):
    """Tokens of both answers of each pair, the end token among them."""

    chosen: Tensor  # (B,)
    rejected: Tensor  # (B,)


class PairSafety(NamedTuple):
    """Whether the answers are safe: SAFE, UNSAFE or UNKNOWN."""

    chosen: Tensor  # (B,)
    rejected: Tensor  # (B,)


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
    """What the losses may read about the pairs of a batch; `needs_...` say what a configuration requires."""

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

    @property
    def term_means(self) -> dict[str, float]:
        """Kind -> mean over the pairs, for the log."""
        return {kind: term.mean().item() for kind, term in self.terms.items()}


def summed(per_token: Tensor, mask: Tensor) -> Tensor:
    """Sums the log-probabilities of each row's answer tokens.

    Args:
        per_token: (B, R) log-probabilities; whatever stands outside the mask, even NaN, does not count.
        mask: (B, R), True at answer tokens.
    """
    return torch.where(mask, per_token, 0.0).sum(dim=-1)  # (B,)


# -- the formulas; every one returns (B,), one value a pair, not yet averaged ------------------------------------------


def sigmoid_losses(ratios: LogRatios, beta: float, label_smoothing: float = 0.0) -> Tensor:
    """Direct preference optimisation, Rafailov et al. 2023 (arXiv 2305.18290), eq. 7.

    L = -log σ(r̂(y_w) - r̂(y_l)). With label smoothing ε it is conservative DPO (Mitchell 2023, "A note on DPO with noisy
    preferences"): L = -(1-ε) log σ(r̂(y_w) - r̂(y_l)) - ε log σ(r̂(y_l) - r̂(y_w)).
    """
    margin = beta * (ratios.chosen - ratios.rejected)
    # logsigmoid, not log(sigmoid + ε), which saturates
    return -(1 - label_smoothing) * logsigmoid(margin) - label_smoothing * logsigmoid(-margin)


def robust_losses(ratios: LogRatios, beta: float, label_smoothing: float) -> Tensor:
    """Robust DPO, Chowdhury et al. 2024 (arXiv 2403.00409): unbiased when a share ε of the pairs is flipped.

    L = (-(1-ε) log σ(r̂(y_w) - r̂(y_l)) + ε log σ(r̂(y_l) - r̂(y_w))) / (1-2ε); it has no lower bound.
    """
    margin = beta * (ratios.chosen - ratios.rejected)
    clean, flipped = -logsigmoid(margin), -logsigmoid(-margin)
    return ((1 - label_smoothing) * clean - label_smoothing * flipped) / (1 - 2 * label_smoothing)


def ipo_losses(ratios: LogRatios, lengths: PairLengths, beta: float) -> Tensor:
    """Identity preference optimisation, Azar et al. 2023 (arXiv 2310.12036), eq. 17, with β for their τ.

    L = (h - 1/(2β))², h = log π(y_w|x)/π_ref(y_w|x) / |y_w| - log π(y_l|x)/π_ref(y_l|x) / |y_l|. The division by the
    lengths does not stand in the paper; TRL does it after asking its authors, and so do we.
    """
    h = ratios.chosen / lengths.chosen - ratios.rejected / lengths.rejected
    return (h - 1 / (2 * beta)) ** 2


def hinge_losses(ratios: LogRatios, beta: float) -> Tensor:
    """The hinge of SLiC (Zhao et al. 2023, arXiv 2305.10425) on DPO's margin, as in RSO (Liu et al., arXiv 2309.06657).

    L = max(0, 1 - (r̂(y_w) - r̂(y_l))).
    """
    return relu(1 - beta * (ratios.chosen - ratios.rejected))


def simpo_losses(policy: PairLogprobs, lengths: PairLengths, beta: float, gamma: float) -> Tensor:
    """Simple preference optimisation, Meng et al. 2024 (arXiv 2405.14734), eq. 6: no reference.

    L = -log σ( β/|y_w| log π(y_w|x) - β/|y_l| log π(y_l|x) - γ ).
    """
    return -logsigmoid(beta * (policy.chosen / lengths.chosen - policy.rejected / lengths.rejected) - gamma)


def bco_pair_losses(ratios: LogRatios, beta: float, shift: Tensor | float) -> Tensor:
    """Binary classifier optimisation on pairs, Jung et al. 2024 (arXiv 2404.04656), as in MPO (2411.10442), eqs. 5-7.

    L = -log σ(r̂(y_w) - δ) - log σ(-(r̂(y_l) - δ)). δ (`shift`) is a number here: no gradient passes it.
    """
    return -logsigmoid(beta * ratios.chosen - shift) - logsigmoid(-(beta * ratios.rejected - shift))


def sft_losses(policy: PairLogprobs, lengths: PairLengths) -> Tensor:
    """The chosen answer's own loss, that holds its likelihood up while the pair is told apart.

    L = -log π(y_w|x) / |y_w|: the supervised term of RPO (Pang et al. 2024, arXiv 2404.19733, eq. 1) and of MPO
    (arXiv 2411.10442, eq. 8). TRL's `sft` averages over the batch's tokens instead, so that long answers weigh more.
    """
    return -policy.chosen / lengths.chosen


def safe_dpo_losses(ratios: LogRatios, safety: PairSafety, beta: float, margin: float) -> Tensor:
    """SafeDPO, Kim et al. 2025 (arXiv 2505.20065), its objective with Δ, on pairs that `safety_ordered` put in order.

    L = -log σ( r̂(y_w) - r̂(y_l) - (h_l - h_w) Δ ), h = 1 for an unsafe answer: Δ is asked of (safe, unsafe) pairs only.
    A pair with an answer of unknown safety is a pair of DPO.
    """
    wanted = margin * ((safety.chosen == SAFE) & (safety.rejected == UNSAFE)).to(ratios.chosen.dtype)  # (h_l - h_w) Δ
    return -logsigmoid(beta * (ratios.chosen - ratios.rejected) - wanted)


def mdpo_losses(ratios: LogRatios, corrupted_ratio: Tensor, beta: float, anchor: float) -> Tensor:
    """Multimodal DPO, Wang et al. 2024 (arXiv 2406.11839): L = L_DPO + L_CoPO + L_AncPO, weighted alike.

    L_CoPO = -log σ( r̂(y_w) - β log π(y_w|x')/π_ref(y_w|x') ) with x' the prompt with a corrupted image, and
    L_AncPO = -log σ( r̂(y_w) - δ ), which holds the chosen answer above the anchor δ.

    Args:
        ratios: Under the true image.
        corrupted_ratio: (B,), log π(y_w|x')/π_ref(y_w|x') of the chosen answer.
        beta: β.
        anchor: δ.
    """
    conditional = -logsigmoid(beta * (ratios.chosen - corrupted_ratio))
    anchored = -logsigmoid(beta * ratios.chosen - anchor)
    return sigmoid_losses(ratios, beta) + conditional + anchored


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


def needs_reference(config: TrainConfig) -> bool:
    """Returns whether any loss reads the reference's log-probabilities; without, no reference pass is run."""
    return any(loss.kind not in ("simpo", "sft") for loss in config.loss)


def needs_corrupted_image(config: TrainConfig) -> bool:
    """Returns whether any loss reads the chosen answers' log-probabilities under a corrupted image."""
    return any(loss.kind == "mdpo" for loss in config.loss)


def needs_safety(config: TrainConfig) -> bool:
    """Returns whether any loss reads the answers' safety flags."""
    return any(loss.kind == "safe_dpo" for loss in config.loss)


def needs_reward_shift(config: TrainConfig) -> bool:
    """Returns whether any loss reads the running reward shift, which the checkpoint then has to keep."""
    return any(loss.kind == "bco_pair" for loss in config.loss)


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


def _required(value: T | None, field: str) -> T:
    if value is None:
        raise ValueError(
            f"A configured loss reads LossInputs.{field}, which is None; ask needs_... what a batch needs."
        )
    return value
