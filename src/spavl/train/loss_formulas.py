"""The formula of each preference loss: log-probabilities summed over an answer in, one loss a pair out. Pure.

Which of them a training adds up, and what each reads of a batch, stands in `losses`. Every formula returns (B,), one
value a pair, not yet averaged.
Shapes: B pairs. In the formulas x is the prompt with its image, y_w the chosen and y_l the rejected answer,
r̂(y) = β log π(y|x)/π_ref(y|x) the implicit reward.
"""

from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import logsigmoid, relu

SAFE, UNSAFE, UNKNOWN = 1, 0, -1
"""What a safety flag may be."""


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
