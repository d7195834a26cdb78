"""Attention over trees against one row a branch, and what it skips."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from spavl.errors import RunError
from spavl.train.attention import Layout, attend
from spavl.train.tree import Segment

SEGMENTS = (
    Segment(0, 6, ()),
    Segment(6, 8, (0,)),
    Segment(8, 11, (0, 1)),
    Segment(11, 15, (0, 1)),
    Segment(15, 17, ()),
    Segment(17, 20, (4,)),
)
"""A prompt of 6, a question of 2, answers of 3 and 4; a second tree with a prompt of 2 and an answer of 3."""
SCALE = 0.3
"""Other than the 8^-0.5 = 0.354 that stands in where a model names none."""


def tensors(heads: int = 4, key_heads: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, n, 20, 8, dtype=torch.float64) for n in (heads, key_heads, key_heads))
    return query.requires_grad_(), key.requires_grad_(), value.requires_grad_()


def row_by_row(
    qkv: tuple[Tensor, Tensor, Tensor], window: int | None = None, block: tuple[int, int] = (0, 0)
) -> Tensor:
    """Every node as the end of a row of its own, with a full mask; the tokens of `block` see each other."""
    query, key, value = qkv
    outputs = []
    for start, end, path in SEGMENTS:
        spans = [slice(*SEGMENTS[node][:2]) for node in path] + [slice(start, end)]
        places = torch.cat([torch.arange(span.start, span.stop) for span in spans])
        index = torch.arange(len(places))
        seen = index[None] <= index[:, None]
        inside = (block[0] <= places) & (places < block[1])
        seen |= inside[:, None] & inside[None]
        if window is not None:
            seen &= index[None] > index[:, None] - window
        rows = [tensor[:, :, places] for tensor in (query, key, value)]
        whole = scaled_dot_product_attention(*rows, attn_mask=seen, enable_gqa=True, scale=SCALE)
        outputs.append(whole[:, :, start - end :])
    return torch.cat(outputs, dim=2).transpose(1, 2)


@pytest.mark.parametrize("block", [(0, 0), (1, 5), (12, 15)], ids=["no block", "in a prompt", "two nodes down"])
@pytest.mark.parametrize("window", [None, 3, 6])
def test_output_and_gradients_equal_those_of_one_row_a_branch(window: int | None, block: tuple[int, int]) -> None:
    qkv = tensors()
    layout = Layout(SEGMENTS, (block,) if block[1] else ())
    ours, weights = attend(None, *qkv, None, tree=layout, sliding_window=window, scaling=SCALE)
    theirs = row_by_row(qkv, window, block)
    assert weights is None and ours.shape == (1, 20, 4, 8)
    assert (ours - theirs).abs().max() < 1e-14
    upstream = torch.randn_like(theirs)
    for one, other in zip(
        torch.autograd.grad(ours, qkv, upstream), torch.autograd.grad(theirs, qkv, upstream), strict=True
    ):
        assert (one - other).abs().max() < 1e-13


@pytest.mark.parametrize("block", [(0, 0), (1, 5), (12, 15)], ids=["no block", "in a prompt", "two nodes down"])
@pytest.mark.parametrize("window", [None, 3, 6])
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@torch.no_grad()
def test_flex_attention_computes_the_same(window: int | None, block: tuple[int, int]) -> None:
    """Forward alone: torch has no backward of it on the CPU."""
    qkv = tuple(tensor.detach() for tensor in tensors())
    layout = Layout(SEGMENTS, (block,) if block[1] else (), flex=True)
    ours, _ = attend(None, *qkv, None, tree=layout, sliding_window=window, scaling=SCALE)
    assert (ours - row_by_row(qkv, window, block)).abs().max() < 1e-13


def test_each_node_is_seen_by_the_stretch_its_descendants_take_up() -> None:
    """The prompt of 6 by its question and both answers, up to 15; an answer by itself alone."""
    assert Layout(SEGMENTS).subtrees == (
        (0, 6, 15, True),
        (6, 8, 15, False),
        (8, 11, 11, False),
        (11, 15, 15, False),
        (15, 17, 20, True),
        (17, 20, 20, False),
    )


def test_a_window_as_long_as_the_longest_branch_changes_nothing() -> None:
    """The longest branch has 6 + 2 + 4 tokens."""
    layout = Layout(SEGMENTS)
    assert layout.is_causal(None) and layout.is_causal(12) and not layout.is_causal(11)
    assert not Layout(SEGMENTS, ((1, 5),)).is_causal(None)


def test_where_masks_are_needed_what_is_masked_is_not_computed() -> None:
    """Masks cover 2 x 8, 3 x 11, 4 x 12 and 3 x 5 places, of 400; prompts are plain causal and need none."""
    masks = Layout(SEGMENTS).masks(None, torch.device("cpu"))
    assert [None if mask is None else tuple(mask.shape) for mask in masks] == [
        None,
        (2, 8),
        (3, 11),
        (4, 12),
        None,
        (3, 5),
    ]


def test_under_autocast_it_is_as_sdpa_is() -> None:
    """Queries may come in float32 beside keys in bfloat16; SDPA takes all in bfloat16 then, as must this."""
    query, key, value = (tensor.detach().float().requires_grad_() for tensor in tensors())
    with torch.autocast("cpu", torch.bfloat16):
        ours, _ = attend(None, query, key.bfloat16(), value, None, tree=Layout(SEGMENTS), scaling=8**-0.5)
        masked, _ = attend(None, query, key.bfloat16(), value, None, tree=Layout(SEGMENTS, ((0, 1),)), scaling=8**-0.5)
    assert ours.dtype == masked.dtype == torch.bfloat16
    assert (ours - masked).abs().max() < 0.03  # two bfloat16 steps at 1
    ours.float().sum().backward()
    assert query.grad is not None and query.grad.dtype == torch.float32


@pytest.mark.parametrize("window", [None, 3])
def test_without_a_scale_it_is_that_of_the_heads_width(window: int | None) -> None:
    layout, qkv = Layout(SEGMENTS), tensors()
    named, unnamed = (
        attend(None, *qkv, None, tree=layout, sliding_window=window, scaling=scale)[0] for scale in (8**-0.5, None)
    )
    assert (named - unnamed).abs().max() < 1e-14


@pytest.mark.parametrize("window", [None, 3])
def test_dropout_leaves_a_weight_out_or_doubles_it(window: int | None) -> None:
    """At one half, with values of 1: the first token of a tree sees itself alone, so each head says 0 or 2 there."""
    query, key, value = tensors()
    torch.manual_seed(0)
    layout = Layout(SEGMENTS)
    found, _ = attend(
        None, query, key, torch.ones_like(value), None, tree=layout, sliding_window=window, scaling=SCALE, dropout=0.5
    )
    assert found[0, [0, 15]].unique().tolist() == [0.0, 2.0]


def test_in_bfloat16_parts_are_joined_by_log_sum_exps_in_float32() -> None:
    """A chain of nodes is plain causal attention, and at scores of 20 a bfloat16 is off by up to 0.06.

    The values' gradients are made of weights, exp(score - log-sum-exp), which would be off by 6 % then.
    """
    chain = tuple(Segment(2 * place, 2 * place + 2, tuple(range(place))) for place in range(8))
    torch.manual_seed(0)
    rounded = [(low + torch.rand(1, 4, 16, 8)).bfloat16() for low in (2.4, 2.4, 0)]  # 8 · 2.9² · 0.3 = 20
    ours, exact = ([one.to(dtype).requires_grad_() for one in rounded] for dtype in (torch.bfloat16, torch.float64))
    found = attend(None, *ours, None, tree=Layout(chain), scaling=SCALE)[0].transpose(1, 2)
    wanted = scaled_dot_product_attention(*exact, is_causal=True, scale=SCALE)
    assert (found - wanted).abs().max() < 0.02
    (gradient,), (twin,) = (
        torch.autograd.grad(one.sum(), value) for one, value in ((found, ours[2]), (wanted, exact[2]))
    )
    assert (gradient / twin - 1).abs().max() < 0.01


@pytest.mark.parametrize("name", ["softcap", "s_aux", "sinks", "position_bias", "head_mask"])
def test_a_model_that_wants_more_than_a_tree_carries_is_refused(name: str) -> None:
    layout = Layout(SEGMENTS)
    with pytest.raises(RunError, match=rf"SimpleNamespace wants \['{name}'\]"):
        attend(SimpleNamespace(), *tensors(), None, tree=layout, **{name: 30.0})
    assert attend(SimpleNamespace(), *tensors(), None, tree=layout, **{name: None})[0].shape == (1, 20, 4, 8)


def test_a_mask_beside_the_tree_is_refused() -> None:
    with pytest.raises(RunError, match="wants a mask"):
        attend(SimpleNamespace(), *tensors(), torch.ones(1, 1, 20, 20), tree=Layout(SEGMENTS))
