"""The losses of proximal policy optimisation, and what is watched beside them. Pure.

Rows are answers padded at the right, (B, T); `real` says which tokens count. A loss is a sum over tokens divided by
`total`, the number of real tokens in the whole minibatch, so that cutting a minibatch into passes changes nothing.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class PolicyLoss(NamedTuple):
    """The clipped objective, and how far the policy has moved."""

    loss: Tensor
    """Scalar, with gradient."""
    clipped: Tensor
    """Share of tokens whose ratio was clipped, as a part of the minibatch's."""
    kl: Tensor
    """k3 estimate of KL(then || now), in nats a token, as a part of the minibatch's.

    The tokens were drawn from the policy as it was then: with r = log π_now - log π_then it is the mean of e^r - 1 - r.
    """


def policy_loss(now: Tensor, then: Tensor, advantages: Tensor, real: Tensor, clip: float, total: int) -> PolicyLoss:
    """Returns PPO's clipped objective, to be minimised (Schulman et al. 2017, arXiv 1707.06347, eq. 7).

        -Σ min(ρ A, clip(ρ, 1 - ε, 1 + ε) A) / total,  ρ = exp(log π_now - log π_then)

    Args:
        now: Log-probabilities (B, T) under the policy as it is, with gradient.
        then: The same when the answers were given.
        advantages: (B, T).
        real: Mask (B, T).
        clip: ε.
        total: Real tokens of the minibatch.
    """
    moved = torch.where(real, now - then.detach(), 0.0)
    ratio = moved.exp()
    kept = ratio.clamp(1 - clip, 1 + clip)
    objective = torch.minimum(ratio * advantages, kept * advantages)
    with torch.no_grad():
        clipped = ((ratio - kept).abs() > 0)[real].sum() / total
        kl = (torch.expm1(moved) - moved)[real].sum() / total
    return PolicyLoss(-objective[real].sum() / total, clipped, kl)


def value_loss(now: Tensor, then: Tensor, returns: Tensor, real: Tensor, clip: float, total: int) -> Tensor:
    """Returns the value head's clipped squared error, a scalar.

        Σ max((V - R)², (clip(V, V_then ± ε) - R)²) / (2 total)

    Args:
        now: Values (B, T) as they are, with gradient.
        then: The same when the answers were given.
        returns: R, (B, T).
        real: Mask (B, T).
        clip: ε, in the unit of the returns.
        total: Real tokens of the minibatch.
    """
    near = torch.maximum(torch.minimum(now, then + clip), then - clip)
    error = torch.maximum((now - returns) ** 2, (near - returns) ** 2)
    return error[real].sum() / (2 * total)
