"""Attention over packed trees by one FlexAttention kernel (CUDA): the whole row at once, empty blocks skipped.

A choice beside `attention.py`, not a replacement: the kernel is compiled at its first use, and torch has no backward
of it on the CPU. There it still runs forward, which is how its mask is tested.
Shapes: T tokens of the packed row, S segments, D width of a head.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from spavl.train.tree import Segment


def tree_block_mask(
    segments: tuple[Segment, ...], blocks: tuple[tuple[int, int], ...], window: int | None, device: torch.device
) -> BlockMask:
    """Returns who sees whom in a packed row, True where seen.

    Args:
        segments: The nodes, from left to right.
        blocks: (start, end) of stretches within which every token sees every other; each lies within one node.
        window: How many tokens back along its branch, itself among them, a token sees; None for all.
        device: Where the mask is wanted.
    """
    lengths = [segment.end - segment.start for segment in segments]
    node, along, block, seen = (torch.tensor(one, device=device) for one in _places(segments, blocks, lengths))
    reach = window or int(along.max()) + 1

    def sees(_: Tensor, __: Tensor, query: Tensor, key: Tensor) -> Tensor:
        causal = seen[node[query], node[key]] & (key <= query)  # an ancestor stands before its descendants
        mutual = (block[query] == block[key]) & (block[query] >= 0)
        return (causal | mutual) & (along[key] > along[query] - reach)

    tokens = segments[-1].end
    return create_block_mask(sees, None, None, tokens, tokens, device=str(device))


def flex_tree_attention(query: Tensor, key: Tensor, value: Tensor, mask: BlockMask, scale: float | None) -> Tensor:
    """Returns (1, heads, T, D).

    Args:
        query: (1, heads, T, D).
        key: (1, key heads, T, D); each serves as many query heads.
        value: (1, key heads, T, D).
        mask: Who sees whom.
        scale: What scores are multiplied by; None for 1/√D.
    """
    shared = query.shape[1] != key.shape[1]
    kernel = _compiled() if query.device.type == "cuda" else flex_attention
    output: Tensor = kernel(query, key, value, block_mask=mask, scale=scale, enable_gqa=shared)
    return output


def _places(
    segments: tuple[Segment, ...], blocks: tuple[tuple[int, int], ...], lengths: list[int]
) -> tuple[list[int], list[int], list[int], list[list[bool]]]:
    """Returns for each token its node, its place along the branch and its block or -1; then who sees whom, (S, S)."""
    node: list[int] = []
    along: list[int] = []
    block = [-1] * segments[-1].end
    for place, (start, end, path) in enumerate(segments):
        before = sum(lengths[ancestor] for ancestor in path)
        node += [place] * (end - start)
        along += range(before, before + end - start)
    for number, (first, last) in enumerate(blocks):
        block[first:last] = [number] * (last - first)
    seen = [
        [key == place or key in path for key in range(len(segments))] for place, (_, _, path) in enumerate(segments)
    ]
    return node, along, block, seen


@cache
def _compiled() -> Any:  # noqa: ANN401  # torch's own
    return torch.compile(flex_attention)
