"""The losses of reward and cost models: scores of both answers of each pair in, one loss a pair out. Pure.

Shapes: B pairs.
"""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from spavl.train.loss_formulas import SAFE, UNKNOWN, UNSAFE, PairSafety


def reward_losses(chosen: Tensor, rejected: Tensor, margin: Tensor | float = 0.0, centring: float = 0.0) -> Tensor:
    """Returns the Bradley-Terry loss of each pair, (B,).

        -log σ(r_chosen - r_rejected - m) + c (r_chosen + r_rejected)²

    `logsigmoid` keeps the gradient where the wrong answer is far ahead; the log of a sigmoid and a small number loses
    it. The margin is Llama 2's (arXiv 2307.09288, eq. 2). The centring term (Eisenstein et al. 2023, arXiv 2312.09244)
    holds scores near 0, which a difference does not.

    Args:
        chosen: Scores of the preferred answers, (B,).
        rejected: Scores of the others, (B,).
        margin: m, by how much more the preferred answer should be worth, (B,) or for all.
        centring: c.
    """
    return -logsigmoid(chosen - rejected - margin) + centring * (chosen + rejected) ** 2


def cost_losses(chosen: Tensor, rejected: Tensor, safety: PairSafety) -> Tensor:
    """Returns the loss of each pair's costs, (B,): what harms more costs more, and harm costs more than 0.

        -log σ(C_unsafe - C_safe) - log σ(s_chosen C_chosen) - log σ(s_rejected C_rejected)

    with s = 1 for an unsafe answer and -1 for a safe one (Safe RLHF, Dai et al. 2023, arXiv 2310.12773, section 3.2).
    Unlike there, which of two answers of the same label is the worse one is not known, and such a pair has no first
    term; an answer of unknown safety has no term at all, so that a pair of two such adds nothing.

    Args:
        chosen: Costs of the preferred answers, (B,).
        rejected: Costs of the others, (B,).
        safety: What the safety judge said of both.
    """
    signs = [_signs(side, chosen) for side in safety]
    known = [(side != UNKNOWN).to(chosen) for side in safety]
    apart = ((safety.chosen == UNSAFE) & (safety.rejected == SAFE)) | (
        (safety.chosen == SAFE) & (safety.rejected == UNSAFE)
    )
    ordered = torch.where(apart, -logsigmoid(signs[0] * (chosen - rejected)), 0.0)
    return ordered - known[0] * logsigmoid(signs[0] * chosen) - known[1] * logsigmoid(signs[1] * rejected)


def pair_margins(safety: PairSafety, strengths: Tensor, safety_margin: float, strength_margin: float) -> Tensor:
    """Returns the margin of each pair, (B,): a [safe is preferred to unsafe] + b strength.

    Args:
        safety: What the safety judge said of both answers.
        strengths: How much better the chosen answer is said to be, (B,); NaN where nobody said, which asks for nothing.
        safety_margin: a.
        strength_margin: b.
    """
    safer = (safety.chosen == SAFE) & (safety.rejected == UNSAFE)
    return safety_margin * safer.to(strengths) + strength_margin * strengths.nan_to_num(0.0)


def _signs(side: Tensor, like: Tensor) -> Tensor:
    """Returns 1 for an unsafe answer, -1 for a safe one."""
    return torch.where(side == UNSAFE, 1.0, -1.0).to(like)
