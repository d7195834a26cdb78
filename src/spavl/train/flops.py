"""The work of a training step, counted and not timed: one row of trees against one row an answer. Pure.

A floating-point operation (FLOP) is a multiplication or an addition; only matrix products are counted.

    linear layers   2 N              for each token; N weights of the language model's linear layers
    attention       4 heads·size     for each layer and each (query, key) pair that is visible: q·k and p·v
    head            2 H V            for each answer token
    adapters        2 A              for each token; A weights of the adapters
    backward        the same again for the inputs' gradients, and again for the weights' where weights are trained;
                    attention has no weights, and its backward is twice its forward

(Kaplan et al. 2020, arXiv 2001.08361, table 1, with attention by visible pairs.) A picture's bidirectional pairs are
counted as if it were causal.
"""

from collections.abc import Sequence
from typing import NamedTuple

from spavl.train.render import Row
from spavl.train.tree import PackedTrees


class ModelShape(NamedTuple):
    """What decides the work of a model's forward pass."""

    windows: tuple[int | None, ...]
    """For each layer of the language model how many tokens back a token sees; None for all."""
    attention_width: int
    """Heads times their size."""
    linear: int
    """Weights of the language model's linear layers, the head left out."""
    head: int
    """Weights of the head, H V."""
    tower: int
    """FLOPs of a picture's way through the tower."""
    projector: int
    """FLOPs of a picture's way through the projector."""
    adapters: int = 0
    """Weights of the adapters, passed by every token of the policy and by none of the reference."""


class Forward(NamedTuple):
    """FLOPs of one forward pass."""

    linear: int
    attention: int
    head: int
    tower: int
    projector: int
    adapters: int


class Training(NamedTuple):
    """What is trained, as far as it decides the work."""

    full: bool
    """Whether the language model's own weights are trained, or else only adapters."""
    projector: bool = False
    tower: float = 0.0
    """Share of the tower that is trained."""
    checkpointing: bool = False
    """Whether the layers run again in the backward pass."""
    epochs: int = 1
    reference: bool = True
    """Whether a loss reads the reference's log-probabilities."""

    def reference_passes(self, *, kept: bool) -> float:
        """Returns how often a step computes the reference, which is kept for all epochs or computed each time."""
        return (1 / self.epochs if kept else 1.0) * self.reference


def tree_flops(packed: PackedTrees, shape: ModelShape) -> Forward:
    """Returns the work of a packed row: every node once, every picture once."""
    spans = []
    for start, end, path in packed.segments:
        context = sum(packed.segments[node].end - packed.segments[node].start for node in path)
        spans.append((context, end - start))
    positions = sum(len(answer.tokens) for answer in packed.answers)
    return _forward(shape, spans, positions, pictures=len({image_id for _, image_id in packed.pictures}))


def rows_flops(rows: Sequence[Row], shape: ModelShape) -> Forward:
    """Returns the work of the same rows when each answer is a sequence of its own, prompt and picture with it."""
    lengths = [(len(row.prompt), len(answer)) for row in rows for answer in row.answers]
    spans = [(0, prompt + answer) for prompt, answer in lengths]
    return _forward(shape, spans, sum(answer for _, answer in lengths), pictures=len(lengths))


def visible_pairs(context: int, own: int, window: int | None = None) -> int:
    """Returns the (query, key) pairs of a node: each token sees `context` tokens before it, and itself causally."""
    if window is None or context + own <= window:
        return own * context + own * (own + 1) // 2
    growing = max(0, min(own, window - context))  # tokens that see less than a whole window
    return growing * context + growing * (growing + 1) // 2 + (own - growing) * window


def step_flops(forward: Forward, training: Training, *, kept: bool) -> float:
    """Returns the work of a step's forward and backward, with its share of the reference pass.

    Args:
        forward: One forward pass of the step's rows.
        training: What is trained.
        kept: Whether a frozen tower's features and the reference log-probabilities are computed once for all epochs;
            otherwise policy and reference compute both in every step.
    """
    weighted, attention = forward.linear + forward.head, forward.attention
    policy = weighted + attention + forward.adapters
    backward = weighted * (2 if training.full else 1) + 2 * attention + 2 * forward.adapters
    recomputed = policy - forward.head if training.checkpointing else 0
    reference = (weighted + attention) * training.reference_passes(kept=kept)
    return policy + recomputed + backward + reference + _picture_flops(forward, training, kept=kept)


def _picture_flops(forward: Forward, training: Training, *, kept: bool) -> float:
    reference = training.reference_passes(kept=kept)
    frozen_passes = 1 / training.epochs if kept else 1 + reference
    trained_passes = 3 + reference  # forward, both gradients; the reference's forward
    blocks_passes = trained_passes + training.checkpointing
    tower = forward.tower * (frozen_passes * (1 - training.tower) + blocks_passes * training.tower)
    if training.projector:
        return tower + forward.projector * trained_passes
    below = 1.0 if training.tower else 0.0  # a gradient on its way to the tower
    return tower + forward.projector * ((trained_passes - 1) * below + frozen_passes * (1 - below))


def _forward(shape: ModelShape, spans: Sequence[tuple[int, int]], positions: int, pictures: int) -> Forward:
    """Adds up nodes given as (tokens before, own tokens)."""
    tokens = sum(own for _, own in spans)
    pairs = sum(visible_pairs(context, own, window) for window in shape.windows for context, own in spans)
    return Forward(
        linear=2 * shape.linear * tokens,
        attention=4 * shape.attention_width * pairs,
        head=2 * shape.head * positions,
        tower=shape.tower * pictures,
        projector=shape.projector * pictures,
        adapters=2 * shape.adapters * tokens,
    )
