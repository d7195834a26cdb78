"""Attention over packed trees: every node attends to its ancestors and, causally, to itself. What is masked is skipped.

transformers calls it through its table of attention functions (`AttentionInterface`) while `tree_attention` is
active; the layout travels through the model's own keyword arguments. No mask of the whole row is ever made. Plain
causal layers take one kernel call a subtree on the CPU; elsewhere, and where a window or a block changes who sees
whom, each node has a call with its ancestors' keys joined to its own. On CUDA FlexAttention is a choice (`flex.py`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from spavl.errors import RunError
from spavl.train.flex import flex_tree_attention, tree_block_mask
from spavl.train.subtree_attention import Subtree, subtree_attention
from spavl.train.tree import Segment

NAME = "spavl_tree"
_UNKNOWN = ("softcap", "s_aux", "sinks", "position_bias", "head_mask")
"""Arguments that change what attention means; a model that passes one is refused, not answered wrongly."""


class Layout:
    """Who sees whom in one packed row.

    Args:
        segments: The nodes, from left to right.
        blocks: (start, end) of stretches of the row within which every token sees every other, as far back as a
            layer's window reaches (Gemma-3's pictures); each lies within one node.
        wanted: Positions whose states are read behind the last layer, (wanted,); None for all.
        flex: Whether FlexAttention computes it, all nodes in one call.
    """

    def __init__(
        self,
        segments: tuple[Segment, ...],
        blocks: tuple[tuple[int, int], ...] = (),
        wanted: Tensor | None = None,
        flex: bool = False,
    ) -> None:
        self.segments = segments
        self.wanted = wanted
        self.flex = flex
        self.lengths = [segment.end - segment.start for segment in segments]
        self._blocks = blocks
        self._longest = max(
            segment.end - segment.start + sum(self.lengths[one] for one in segment.path) for segment in segments
        )
        self._masks: dict[tuple[int | None, torch.device], list[Tensor | None]] = {}
        self._block_masks: dict[tuple[int | None, torch.device], BlockMask] = {}

    def is_causal(self, window: int | None) -> bool:
        """Says whether tokens see all that stands before them in their branch, and nothing behind them."""
        return not self._blocks and (window is None or self._longest <= window)

    @cached_property
    def subtrees(self) -> tuple[Subtree, ...]:
        """Every node with the stretch that its descendants take up; they stand directly behind it."""
        reach = [segment.end for segment in self.segments]
        for segment in self.segments:
            for ancestor in segment.path:
                reach[ancestor] = max(reach[ancestor], segment.end)
        return tuple(
            Subtree(start, end, reach[place], is_root=not path)
            for place, (start, end, path) in enumerate(self.segments)
        )

    def masks(self, window: int | None, device: torch.device) -> list[Tensor | None]:
        """Returns for each node what its tokens see, (own, ancestors' + own), True where seen; None if plain causal.

        Args:
            window: How many tokens back, itself among them, a token sees; None for all.
            device: Where the masks are wanted.
        """
        key = (window, device)
        if key not in self._masks:
            self._masks[key] = [self._mask(place, window, device) for place in range(len(self.segments))]
        return self._masks[key]

    def block_mask(self, window: int | None, device: torch.device) -> BlockMask:
        """Returns the same of all nodes together, as FlexAttention takes it."""
        key = (window, device)
        if key not in self._block_masks:
            self._block_masks[key] = tree_block_mask(self.segments, self._blocks, window, device)
        return self._block_masks[key]

    def _mask(self, place: int, window: int | None, device: torch.device) -> Tensor | None:
        start, end, path = self.segments[place]
        before, own = sum(self.lengths[ancestor] for ancestor in path), self.lengths[place]
        blocks = [(first - start, last - start) for first, last in self._blocks if start <= first and last <= end]
        if not before and not blocks and (window is None or own <= window):
            return None
        rows = torch.arange(before, before + own, device=device)[:, None]  # places along the branch, not in the row
        columns = torch.arange(before + own, device=device)
        seen = columns <= rows
        for first, last in blocks:
            seen[first:last, before + first : before + last] = True
        if window is not None:
            seen &= columns > rows - window
        return seen


def attend(
    module: Any,  # noqa: ANN401  # the attention layer of any family
    query: Tensor,  # (1, heads, T, D)
    key: Tensor,  # (1, key heads, T, D)
    value: Tensor,  # (1, key heads, T, D)
    attention_mask: Tensor | None,
    **options: Any,  # noqa: ANN401  # what the family passes
) -> tuple[Tensor, None]:
    """Returns (1, T, heads, D); the face that transformers' attention functions have.

    Raises:
        RunError: The model passes an argument whose meaning is not carried over.
    """
    unknown = [name for name in _UNKNOWN if options.get(name) is not None]
    if unknown or attention_mask is not None:
        raise RunError(
            f"The attention of {type(module).__name__} wants {unknown or 'a mask'}, which trees do not carry."
        )
    layout: Layout = options["tree"]
    window = options.get("sliding_window")
    if layout.flex:
        mask = layout.block_mask(window, query.device)
        return flex_tree_attention(query, key, value, mask, options.get("scaling")).transpose(1, 2), None
    groups = query.shape[1] // key.shape[1]
    dropout = options.get("dropout", 0.0)
    if query.device.type == "cpu" and not dropout and layout.is_causal(window):
        scale = options.get("scaling") or query.shape[-1] ** -0.5
        query, key, value = (_lowered(tensor) for tensor in (query, key, value))
        key, value = _repeated(key, groups), _repeated(value, groups)
        return subtree_attention(query, key, value, layout.subtrees, scale).transpose(1, 2), None
    queries, keys, values = (torch.split(tensor, layout.lengths, dim=2) for tensor in (query, key, value))
    outputs = []
    for place, seen_by_node in enumerate(layout.masks(window, query.device)):
        seen = (*layout.segments[place].path, place)
        outputs.append(
            scaled_dot_product_attention(
                queries[place],
                _repeated(torch.cat([keys[node] for node in seen], dim=2), groups),
                _repeated(torch.cat([values[node] for node in seen], dim=2), groups),
                attn_mask=seen_by_node,
                dropout_p=dropout,
                is_causal=seen_by_node is None,
                scale=options.get("scaling"),
            )
        )
    return torch.cat(outputs, dim=2).transpose(1, 2), None


def _lowered(tensor: Tensor) -> Tensor:
    """Gives a tensor the precision that autocast gives SDPA's arguments; the kernel itself is not known to autocast."""
    return tensor.to(torch.get_autocast_dtype("cpu")) if torch.is_autocast_enabled("cpu") else tensor


def _repeated(tensor: Tensor, groups: int) -> Tensor:
    """Gives each query head its key head: on the CPU SDPA's own way of sharing them is a slow one."""
    return tensor if groups == 1 else tensor.repeat_interleave(groups, dim=1)


AttentionInterface.register(NAME, attend)  # a name without a mask function: transformers makes no mask for it


@contextmanager
def tree_attention(language: Any) -> Iterator[None]:  # noqa: ANN401  # the language model of any family
    """Lets the language model attend over trees while the block lasts; its forward must be given `tree=Layout`."""
    config = language.config
    before = config._attn_implementation  # transformers' own switch
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before
