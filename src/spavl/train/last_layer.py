"""The last layer of the language model, run for the tokens that are asked for alone; of the others it needs only keys.

Behind the last layer nothing attends any more, so the output projection and the MLP of a token whose state nobody
reads are work for nothing: of a picture's and a question's tokens, that is all but the last. No number changes.
The layer must be of the plain kind, h + attention(norm(h)), then h + MLP(norm(h)); one of another kind, or one behind
which the model adds something by place, runs for all tokens.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn

PLAIN_LAYERS = frozenset(
    {
        "LlamaDecoderLayer",
        "MistralDecoderLayer",
        "Qwen2DecoderLayer",
        "Qwen3DecoderLayer",
        "Qwen2_5_VLDecoderLayer",
        "Qwen3VLTextDecoderLayer",
    }
)
"""Classes of transformers whose forward is the one written down in `_forward`."""


def narrowed(language: Any, places: Sequence[int], added: int = 0) -> list[int] | None:  # noqa: ANN401  # any family
    """Has a language model's last layer listen to `Layout.wanted` from now on.

    Args:
        language: The language model without its head.
        places: The positions in the row whose states will be read, in any order and as often as wanted.
        added: Behind how many of the first layers the model adds something by place (DeepStack).

    Returns:
        The positions to want, in ascending order; None where the layer runs for all tokens.
    """
    last = language.layers[-1]
    names = {one.__name__ for one in type(last).__mro__}  # FSDP2 puts a class of its own in front
    if not names & PLAIN_LAYERS or added >= len(language.layers):
        return None
    if "forward" not in vars(last):
        last.forward = partial(_forward, last, last.forward)
    return sorted(set(places))


def _forward(layer: Any, whole: Any, hidden: Tensor, *others: Any, **options: Any) -> Tensor:  # noqa: ANN401  # transformers' face
    wanted: Tensor | None = getattr(options.get("tree"), "wanted", None)
    if wanted is None:
        plain: Tensor = whole(hidden, *others, **options)
        return plain
    with _only(layer.self_attn.o_proj, wanted):
        attended, _ = layer.self_attn(layer.input_layernorm(hidden), *others, **options)  # (1, wanted, H)
    hidden = hidden.index_select(1, wanted) + attended
    narrow: Tensor = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
    return narrow


@contextmanager
def _only(projection: nn.Module, wanted: Tensor) -> Iterator[None]:
    """Lets a projection see these tokens alone while the block lasts."""
    hook = projection.register_forward_pre_hook(lambda _, given: (given[0].index_select(1, wanted),))
    try:
        yield
    finally:
        hook.remove()
