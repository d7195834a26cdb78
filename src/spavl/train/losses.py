"""The preference losses: summed log-probabilities in, one loss a pair out. Pure; knows no model and no file.

Shapes: B pairs, R answer positions. A mask is True where a position holds an answer token.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


class PairLogprobs(NamedTuple):
    """log π(y|x) of both answers of each pair, natural logarithm, summed over the answer with its end token."""

    chosen: Tensor  # (B,)
    rejected: Tensor  # (B,)


class PairLosses(NamedTuple):
    """The loss of each pair and the implicit rewards it rests on; rewards carry no gradient."""

    loss: Tensor  # (B,)
    chosen_reward: Tensor  # (B,)
    rejected_reward: Tensor  # (B,)


def summed(per_token: Tensor, mask: Tensor) -> Tensor:
    """Sums the log-probabilities of each row's answer tokens.

    Args:
        per_token: (B, R) log-probabilities; whatever stands outside the mask, even NaN, does not count.
        mask: (B, R), True at answer tokens.
    """
    return torch.where(mask, per_token, 0.0).sum(dim=-1)  # (B,)


def dpo_losses(policy: PairLogprobs, reference: PairLogprobs, beta: float) -> PairLosses:
    """Direct preference optimisation, Rafailov et al. 2023 (arXiv 2305.18290), eq. 7.

    L = -log σ( β log π(y_w|x)/π_ref(y_w|x) - β log π(y_l|x)/π_ref(y_l|x) ), one value a pair, not yet averaged.

    Args:
        policy: Log-probabilities under the model that is trained.
        reference: Log-probabilities under the model it started from.
        beta: β, the strength of the pull towards the reference.
    """
    chosen_reward = beta * (policy.chosen - reference.chosen)  # r̂(x, y_w) of section 5.1, up to Z(x)
    rejected_reward = beta * (policy.rejected - reference.rejected)
    loss = -logsigmoid(chosen_reward - rejected_reward)  # logsigmoid, not log(sigmoid + ε), which saturates
    return PairLosses(loss, chosen_reward.detach(), rejected_reward.detach())


def sft_losses(policy: PairLogprobs, chosen_tokens: Tensor) -> Tensor:
    """The chosen answer's own loss, that holds its likelihood up while the pair is told apart.

    L = -log π(y_w|x) / |y_w|, one value a pair: the supervised term of RPO (Pang et al. 2024, arXiv 2404.19733, eq. 1)
    and of InternVL's mixed preference optimisation.

    Args:
        policy: Log-probabilities under the model that is trained.
        chosen_tokens: (B,), the tokens of each chosen answer, its end token among them.
    """
    return -policy.chosen / chosen_tokens  # (B,)
