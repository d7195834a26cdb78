"""What a training step needs of memory, estimated before anything is loaded. Pure.

Weights, gradients and AdamW's moments are counted. What the layers keep for the backward pass is a formula whose
constants were measured on transformers 5.23 with torch 2.13: all that a forward pass of its Llama leaves behind, and
every tensor that autograd kept of its vision towers, counted once. Fragmentation, the libraries themselves and what the
pictures' cache holds come on top.

With several processes all figures are of one device. Under `replicate` each has everything; under `zero2` and `zero3`
weights, gradients and moments are cut up, and the weights at work are whole beside that (`sharding.py`).
"""

from typing import NamedTuple

from spavl.train.head import CHUNK_ELEMENTS

KEPT_PER_TOKEN = {("float32", False): 17, ("float32", True): 16, ("bfloat16", False): 9, ("bfloat16", True): 22}
"""(precision, whether the layers' own weights train) -> bytes kept of a token in a layer, for each unit of width:
what enters both norms, queries, the attention's output and what adapters or weights need of their inputs; norms'
results are made again (`recompute.py`)."""
KEPT_IN_TOWER = {("float32", False): 33, ("float32", True): 48, ("bfloat16", False): 21, ("bfloat16", True): 27}
"""(precision, whether positions are rotary, as Qwen-VL's) -> the same of a patch in a trained block of the tower."""
SIZES = {"float32": 4, "bfloat16": 2}
"""Bytes of a number."""
MLP_STATES = 2
"""Gate and up, each of the MLP's width; the activated gate and the product are made again (`recompute.py`)."""


class TowerBlocks(NamedTuple):
    """The vision tower's blocks that are trained, and what passes them."""

    number: int
    width: int
    mlp_width: int
    mlp_states: int
    """States of the MLP's width that a block keeps."""
    rotary: bool
    patches: int
    """Of all pictures that pass before one backward."""
    beside: int = 0
    """Bytes kept by a tower that has no blocks."""


NO_BLOCKS = TowerBlocks(0, 0, 0, 0, rotary=False, patches=0)


class Layers(NamedTuple):
    """The language model's layers, and what of the tower trains."""

    number: int
    width: int
    mlp_width: int
    attention_width: int
    """Heads times their size; keys and values are repeated to it."""
    tower: TowerBlocks = NO_BLOCKS


class Weights(NamedTuple):
    """The model's weights."""

    held: int
    """Bytes of all of them: trained ones, and what must be of their kind, in float32."""
    trained: int
    """Trained parameters, adapters among them."""
    full: bool
    """Whether the language model's own weights are trained."""
    cut: int = 0
    """Bytes of `held` that are cut up among the processes."""
    gathered: int = 0
    """Bytes of `cut` that are whole on every device while they are at work."""
    processes: int = 1

    @property
    def sharers(self) -> int:
        """How many devices share a gradient or a moment."""
        return self.processes if self.cut else 1


class Packed(NamedTuple):
    """The longest packed row, or all rows that pass before one backward."""

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
        layers: Those that keep something.
        packed: What passes before one backward.
        dtype: Precision of frozen weights and of computing.
        checkpointing: Whether the layers run again in the backward pass.
    """
    casts = 2 * weights.trained if dtype == "bfloat16" else 0
    each, among = weights.trained / weights.sharers, f" / {weights.sharers} processes" if weights.cut else ""
    held = weights.held - weights.cut + weights.cut / weights.processes
    what = f"trained in 4 B, frozen in {SIZES[dtype]} B where no trained part bars it"
    return (
        MemoryLine("weights", held, what + (f"; of them {weights.cut:,} B{among}" if weights.cut else "")),
        MemoryLine("gathered", weights.gathered, "the cut-up weights at work" if weights.cut else "nothing is cut up"),
        MemoryLine("casts", casts, "2 B x trained" if casts else "nothing to cast"),
        MemoryLine("gradients", 4 * each, f"4 B x trained{among}"),
        MemoryLine("moments", 8 * each, f"AdamW: 2 x 4 B x trained{among}"),
        _activations(weights, layers, packed, dtype, checkpointing),
        _tower(layers.tower, dtype, checkpointing),
        MemoryLine("head", 2 * 4 * CHUNK_ELEMENTS, "2 x 4 B x logits of a chunk"),
        MemoryLine("update", 4 * each, f"AdamW: 4 B x trained{among}, instead of what passes and is gathered"),
    )


def peak_bytes(lines: tuple[MemoryLine, ...]) -> float:
    """Returns the most that is needed at once."""
    needs = {line.name: line.bytes for line in lines}
    held = needs["weights"] + needs["gradients"] + needs["moments"]
    passing = sum(needs[name] for name in ("gathered", "casts", "activations", "tower", "head"))
    return held + max(passing, needs["update"])


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


def _tower(tower: TowerBlocks, dtype: str, checkpointing: bool) -> MemoryLine:
    if tower.beside:
        return MemoryLine("tower", tower.beside, "every tensor that a pass keeps, in 4 B")
    if not tower.number:
        return MemoryLine("tower", 0, "no block of it is trained")
    size, constant = SIZES[dtype], KEPT_IN_TOWER[dtype, tower.rotary]
    block = (constant * tower.width + tower.mlp_states * size * tower.mlp_width) * tower.patches
    inside = f"({constant} B x width + {tower.mlp_states * size} B x MLP width) x patches"
    if not checkpointing:
        return MemoryLine("tower", tower.number * block, f"trained blocks x {inside}")
    entering = 4 * tower.number * tower.width * tower.patches
    return MemoryLine("tower", entering + block, f"trained blocks x 4 B x width x patches + one block's {inside}")
