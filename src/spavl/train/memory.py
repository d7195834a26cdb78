"""What a training step needs of memory, estimated before anything is loaded. Pure.

Weights, gradients and AdamW's moments are counted. What the layers keep for the backward pass is a formula whose four
constants were measured on transformers 5.23's Llama with torch 2.13 (all that a forward pass leaves behind).
Fragmentation, the libraries themselves and what the pictures' cache holds come on top.
"""

from typing import NamedTuple

from spavl.train.head import CHUNK_ELEMENTS

KEPT_PER_TOKEN = {("float32", False): 17, ("float32", True): 16, ("bfloat16", False): 9, ("bfloat16", True): 22}
"""(precision, whether the layers' own weights train) -> bytes kept of a token in a layer, for each unit of width:
what enters both norms, queries, the attention's output and what adapters or weights need of their inputs; norms'
results are made again (`recompute.py`)."""
SIZES = {"float32": 4, "bfloat16": 2}
"""Bytes of a number."""
MLP_STATES = 2
"""Gate and up, each of the MLP's width; the activated gate and the product are made again (`recompute.py`)."""


class Layers(NamedTuple):
    """The language model's layers."""

    number: int
    width: int
    mlp_width: int
    attention_width: int
    """Heads times their size; keys and values are repeated to it."""


class Weights(NamedTuple):
    """The model's weights."""

    held: int
    """Bytes of all of them: trained ones, and what must be of their kind, in float32."""
    trained: int
    """Trained parameters, adapters among them."""
    full: bool
    """Whether the language model's own weights are trained."""


class Packed(NamedTuple):
    """The longest packed row."""

    tokens: int
    keys: int
    """Keys that a layer keeps, and as many values."""


class MemoryLine(NamedTuple):
    """One need."""

    name: str
    bytes: float
    formula: str


def memory_lines(
    weights: Weights, layers: Layers, packed: Packed, dtype: str, *, checkpointing: bool
) -> tuple[MemoryLine, ...]:
    """Returns what a step needs, need by need; the update's comes when the activations are gone again.

    Args:
        weights: The model's.
        layers: The language model's.
        packed: The longest packed row.
        dtype: Precision of frozen weights and of computing.
        checkpointing: Whether the layers run again in the backward pass.
    """
    casts = 2 * weights.trained if dtype == "bfloat16" else 0
    return (
        MemoryLine(
            "weights", weights.held, f"trained in 4 B, frozen in {SIZES[dtype]} B where no trained part bars it"
        ),
        MemoryLine("casts", casts, "2 B x trained" if casts else "nothing to cast"),
        MemoryLine("gradients", 4 * weights.trained, "4 B x trained"),
        MemoryLine("moments", 8 * weights.trained, "AdamW: 2 x 4 B x trained"),
        _activations(weights, layers, packed, dtype, checkpointing),
        MemoryLine("head", 2 * 4 * CHUNK_ELEMENTS, "2 x 4 B x logits of a chunk"),
        MemoryLine("update", 4 * weights.trained, "AdamW: 4 B x trained, instead of activations and head"),
    )


def peak_bytes(lines: tuple[MemoryLine, ...]) -> float:
    """Returns the most that is needed at once."""
    needs = {line.name: line.bytes for line in lines}
    held = needs["weights"] + needs["gradients"] + needs["moments"]
    return held + max(needs["casts"] + needs["activations"] + needs["head"], needs["update"])


def _activations(weights: Weights, layers: Layers, packed: Packed, dtype: str, checkpointing: bool) -> MemoryLine:
    size, constant = SIZES[dtype], KEPT_PER_TOKEN[dtype, weights.full]
    token = constant * layers.width + MLP_STATES * size * layers.mlp_width
    layer = token * packed.tokens + 2 * size * layers.attention_width * packed.keys
    inside = f"({constant} B x width + {MLP_STATES * size} B x MLP width) x tokens + {2 * size} B x heads x keys"
    if not checkpointing:
        return MemoryLine("activations", layers.number * layer, f"layers x ({inside})")
    stream = 4 if weights.full else size  # trained embeddings make the residual stream float32
    entering = layers.number * stream * layers.width * packed.tokens
    again = 2 * layer  # a layer that runs again keeps about twice as much: nothing is made a third time
    return MemoryLine(
        "activations", entering + again, f"layers x {stream} B x width x tokens + 2 x one layer's {inside}"
    )
