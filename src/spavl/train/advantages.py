"""What a rollout's tokens were worth: rewards with their KL price, returns and advantages. Pure.

Answers lie in rows padded at the right, (B, T); which tokens are real is said by their lengths (B,) alone, never by a
token's id or the value of a log-probability: a policy may be certain of a token (log-probability 0), and id 0 may be a
word. What lies behind an answer's end has no say in any result, and comes out as 0.
"""

from typing import NamedTuple

import torch
from torch import Tensor

WHITEN_EPSILON = 1e-8
ROUNDING_UNITS = 4
"""Units in the last place by which scores may differ and still be the same."""


class Advantages(NamedTuple):
    """For every token of the answers, (B, T) each."""

    advantages: Tensor
    returns: Tensor
    """What the value head learns: advantage plus value, before any whitening."""


def real_tokens(lengths: Tensor, width: int) -> Tensor:
    """Returns the mask (B, T) of the tokens that belong to answers of these lengths (B,).

    Raises:
        ValueError: An answer has no token, or more than fit.
    """
    if int(lengths.min()) < 1 or int(lengths.max()) > width:
        raise ValueError(f"answers of {int(lengths.min())} to {int(lengths.max())} tokens in rows of {width}")
    return torch.arange(width, device=lengths.device) < lengths[:, None]


def token_rewards(scores: Tensor, policy: Tensor, reference: Tensor, lengths: Tensor, kl_weight: float) -> Tensor:
    """Returns the reward of every token (B, T): the price of leaving the reference, and the score at the answer's end.

        r_t = -β (log π(t) - log π_ref(t)), and + score at t = length - 1

    The per-token estimate of the KL divergence is k1, without gradient.

    Args:
        scores: What each answer is worth as a whole, (B,).
        policy: Log-probabilities (B, T) under the policy that answered.
        reference: The same under the reference.
        lengths: Tokens of each answer, (B,).
        kl_weight: β.

    Raises:
        ValueError: A score or a log-probability of an answer is not finite.
    """
    real = real_tokens(lengths, policy.shape[1])
    rewards = torch.where(real, -kl_weight * (policy - reference), 0.0).detach()
    rewards[torch.arange(len(scores)), lengths - 1] += scores.to(rewards.dtype)
    if not rewards.isfinite().all():
        raise ValueError(
            f"answers {(~rewards.isfinite()).any(dim=1).nonzero().flatten().tolist()} have no finite reward"
        )
    return rewards


def generalised_advantages(
    rewards: Tensor, values: Tensor, lengths: Tensor, discount: float = 1.0, smoothing: float = 0.95
) -> Advantages:
    """Estimates advantages (GAE, Schulman et al. 2016, arXiv 1506.02438, eq. 16).

        δ_t = r_t + γ V_{t+1} - V_t,  A_t = δ_t + γ λ A_{t+1},  V and A being 0 behind the answer's end

    Args:
        rewards: (B, T).
        values: V_t, (B, T): what the value head expected before token t was chosen.
        lengths: (B,).
        discount: γ.
        smoothing: λ.
    """
    real = real_tokens(lengths, rewards.shape[1])
    values = torch.where(real, values.detach(), 0.0)
    advantages = torch.zeros_like(values)
    following = torch.zeros_like(values[:, 0])
    for place in range(rewards.shape[1] - 1, -1, -1):
        beyond = values[:, place + 1] if place + 1 < rewards.shape[1] else torch.zeros_like(following)
        delta = rewards[:, place] + discount * beyond - values[:, place]
        following = torch.where(real[:, place], delta + discount * smoothing * following, 0.0)
        advantages[:, place] = following
    return Advantages(advantages, torch.where(real, advantages + values, 0.0))


def whiten(advantages: Tensor, real: Tensor) -> Tensor:
    """Shifts and scales the real tokens' advantages to mean 0 and variance 1; give it the whole batch of a rollout.

    Args:
        advantages: (B, T).
        real: The mask, (B, T).
    """
    taken = advantages[real]
    scaled = (advantages - taken.mean()) / (taken.var(correction=0) + WHITEN_EPSILON).sqrt()
    return torch.where(real, scaled, 0.0)


def leave_one_out(scores: Tensor) -> Tensor:
    """Returns each answer's advantage over the mean of the others to the same prompt (RLOO, arXiv 2402.14740, eq. 8).

    Args:
        scores: (P, k): k answers to each of P prompts, the KL's price taken off already.

    Raises:
        ValueError: There is one answer a prompt only.
    """
    _several(scores)
    others = (scores.sum(dim=1, keepdim=True) - scores) / (scores.shape[1] - 1)
    return scores - others


def group_relative(scores: Tensor) -> Tensor:
    """Returns each answer's advantage in its group's standard deviations (GRPO, arXiv 2402.03300, section 4.1.2).

    A group whose answers are all worth the same has nothing to tell: its advantages are 0. The same are scores whose
    spread is no more than the last bits of their own numbers.

    Args:
        scores: (P, k).

    Raises:
        ValueError: There is one answer a prompt only.
    """
    _several(scores)
    exact = scores.double()
    spread = exact.std(dim=1, keepdim=True)
    rounding = ROUNDING_UNITS * torch.finfo(scores.dtype).eps * exact.abs().amax(dim=1, keepdim=True)
    relative = (exact - exact.mean(dim=1, keepdim=True)) / (spread + WHITEN_EPSILON)
    return torch.where(spread > rounding, relative, 0.0).to(scores.dtype)


def _several(scores: Tensor) -> None:
    if scores.ndim != 2 or scores.shape[1] < 2:
        raise ValueError(f"scores of shape {tuple(scores.shape)}: two answers a prompt are the least")
