"""The language-model head on answer positions alone: one log-probability a target, the vocabulary in passing.

    log π(y|h) = w_y·h - log Σ_v exp(w_v·h)            with gradient  ∂/∂h = w_y - Σ_v p_v w_v

The logits of a chunk of positions live only while the chunk is worked on. Where the head is frozen its gradient is
formed in the forward pass, while the probabilities are there, so backward costs nothing; where it is trained the
logits are computed once more in backward. Sums over the vocabulary are in float32 or better.
Shapes: N positions, H hidden, V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

CHUNK_ELEMENTS = 2**24
"""Logits of one chunk: 64 MiB in float32."""


def target_logprobs(states: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Returns log π(target | state), (N,), in float32 or better.

    Args:
        states: (N, H) hidden states after the final norm.
        weight: (V, H) of the head, which has no bias.
        targets: (N,) ids.
    """
    logprobs: Tensor = _TargetLogprobs.apply(states, weight, targets)  # type: ignore[no-untyped-call]  # untyped in torch
    return logprobs


class _TargetLogprobs(Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, targets: Tensor) -> Tensor:  # noqa: ANN401  # torch's own
        dtype = torch.promote_types(states.dtype, torch.float32)
        logprobs = torch.empty(len(states), dtype=dtype, device=states.device)
        wants_states, wants_weight, _ = ctx.needs_input_grad
        slope = torch.empty_like(states) if wants_states and not wants_weight else None  # (N, H)
        for rows in _chunks(len(states), len(weight)):
            logits = (states[rows] @ weight.T).to(dtype)  # (n, V)
            norm = logits.logsumexp(dim=1)  # (n,)
            logprobs[rows] = logits.gather(1, targets[rows, None]).squeeze(1) - norm
            if slope is not None:
                p = logits.sub_(norm[:, None]).exp_().to(weight.dtype)  # (n, V)
                slope[rows] = weight[targets[rows]] - p @ weight  # w_y - Σ_v p_v w_v
        if slope is not None:
            ctx.save_for_backward(slope)
        elif wants_weight:
            ctx.save_for_backward(states, weight, targets)
        return logprobs

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:  # noqa: ANN401
        gradient = gradients[0]  # (N,)
        saved = ctx.saved_tensors
        if len(saved) == 1:
            (slope,) = saved
            return (gradient[:, None] * slope).to(slope.dtype), None, None
        return *_backward_of_trained_head(gradient, *saved, wants_states=ctx.needs_input_grad[0]), None


def _backward_of_trained_head(
    gradient: Tensor, states: Tensor, weight: Tensor, targets: Tensor, *, wants_states: bool
) -> tuple[Tensor | None, Tensor]:
    """Computes the logits again: dL/dlogits = g (1_y - p), dL/dh = dlogits·W, dL/dW = dlogitsᵀ·h."""
    d_states = torch.empty_like(states) if wants_states else None
    d_weight = torch.zeros(weight.shape, dtype=gradient.dtype, device=weight.device)
    for rows in _chunks(len(states), len(weight)):
        p = (states[rows] @ weight.T).to(gradient.dtype).softmax(dim=1)  # (n, V)
        d_logits = p.mul_(-gradient[rows, None])
        d_logits.scatter_add_(1, targets[rows, None], gradient[rows, None])
        if d_states is not None:
            d_states[rows] = d_logits.to(weight.dtype) @ weight
        d_weight += d_logits.T @ states[rows].to(gradient.dtype)
    return d_states, d_weight.to(weight.dtype)


def _chunks(positions: int, vocabulary: int) -> list[slice]:
    size = max(1, CHUNK_ELEMENTS // vocabulary)
    return [slice(start, start + size) for start in range(0, positions, size)]
