"""Attention over packed trees on the CPU: one call of torch's flash kernel a node, nothing copied, nothing wasted.

A node's keys are seen by its whole subtree, which follows it in the row: by the node itself causally and by all its
descendants. That is one causal call with more queries than keys. A token so gets one part of its answer from each
node of its path; with s_j a part's log-sum-exp and o_j its output,

    s = log Σ_j exp(s_j)        o = Σ_j exp(s_j - s) o_j

and in backward the kernel, given the whole o and s, returns each part's gradients exactly (Dao et al. 2022,
arXiv 2205.14135, section 3.1 and appendix B.4; joining parts: Liu et al. 2023, arXiv 2310.01889).
Shapes: T tokens of the packed row, D width of a head.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

_forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


class Subtree(NamedTuple):
    """A node and those under it, as places in the row."""

    start: int
    end: int
    """Where the node ends and its first child begins."""
    reach: int
    """Where its last descendant ends."""
    is_root: bool


def subtree_attention(query: Tensor, key: Tensor, value: Tensor, subtrees: Sequence[Subtree], scale: float) -> Tensor:
    """Returns (1, heads, T, D).

    Args:
        query: (1, heads, T, D), on the CPU; key and value have as many heads.
        key: (1, heads, T, D).
        value: (1, heads, T, D).
        subtrees: One a node, from left to right; together they cover the row.
        scale: What scores are multiplied by.
    """
    output: Tensor = _SubtreeAttention.apply(query, key, value, subtrees, scale)  # type: ignore[no-untyped-call]  # untyped in torch
    return output


class _SubtreeAttention(Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401  # torch's own
        query: Tensor,
        key: Tensor,
        value: Tensor,
        subtrees: Sequence[Subtree],
        scale: float,
    ) -> Tensor:
        output = torch.empty_like(query)
        log_sum = query.new_empty(
            query.shape[:3], dtype=torch.promote_types(query.dtype, torch.float32)
        )  # (1, heads, T)
        for start, end, reach, is_root in subtrees:
            keys, seen_by = slice(start, end), slice(start, reach)
            part, part_sum = _forward(query[:, :, seen_by], key[:, :, keys], value[:, :, keys], 0.0, True, scale=scale)
            if is_root:
                output[:, :, seen_by], log_sum[:, :, seen_by] = part, part_sum
            else:
                _join(output[:, :, seen_by], log_sum[:, :, seen_by], part, part_sum)
        ctx.save_for_backward(query, key, value, output, log_sum)
        ctx.subtrees, ctx.scale = subtrees, scale
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:  # noqa: ANN401
        query, key, value, output, log_sum = ctx.saved_tensors
        d_query, d_key, d_value = (torch.empty_like(tensor) for tensor in (query, key, value))
        for start, end, reach, is_root in ctx.subtrees:
            keys, seen_by = slice(start, end), slice(start, reach)
            whole = (tensor[:, :, seen_by] for tensor in (output, log_sum))
            part, d_key[:, :, keys], d_value[:, :, keys] = _backward(
                gradients[0][:, :, seen_by],
                query[:, :, seen_by],
                key[:, :, keys],
                value[:, :, keys],
                *whole,
                0.0,
                True,
                scale=ctx.scale,
            )
            if is_root:
                d_query[:, :, seen_by] = part
            else:
                d_query[:, :, seen_by] += part
        return d_query, d_key, d_value, None, None


def _join(output: Tensor, log_sum: Tensor, part: Tensor, part_sum: Tensor) -> None:
    """Adds a part to what is there, in place: s = log(e^s1 + e^s2), o = e^(s1 - s) o1 + e^(s2 - s) o2."""
    total = torch.logaddexp(log_sum, part_sum)
    output.mul_((log_sum - total).exp_()[..., None]).add_(part.mul_((part_sum - total).exp_()[..., None]))
    log_sum.copy_(total)
