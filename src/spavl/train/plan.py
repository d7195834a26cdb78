"""What a training will do and need, worked out before a weight is loaded: parts, steps, tokens, memory, work.

The model is built without weights from its config.json; the pairs are rendered and packed as training does it. It
neither trains nor estimates seconds, which depend on the machine.
"""

import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image

from spavl.config import TrainConfig
from spavl.models.loading import Vlm, load_processor, load_skeleton
from spavl.records import PreferencePair
from spavl.train.families import Family, family_of
from spavl.train.families.tower import Tower
from spavl.train.flops import Forward, ModelShape, Training, rows_flops, step_flops, tree_flops
from spavl.train.memory import MemoryLine, Packed, Weights, memory_lines, peak_bytes
from spavl.train.model_shape import Model, PictureInputs, layers_of, picture_inputs, shape_of
from spavl.train.policy import PARTS, Policy, open_policy
from spavl.train.render import Renderer, Row, open_picture, stop_ids
from spavl.train.tree import PackedTrees, pack_rows, plan_epoch, row_tokens

SAMPLE = 120
"""Pairs that are rendered to measure lengths; whole pictures, in the order of their ids, which are hashes."""
ASSUMED_QUESTIONS, ASSUMED_QUESTION_TOKENS, ASSUMED_ANSWER_TOKENS = 3, 36, 150
"""What is taken where there are no pairs yet: SPA-VL's three questions a picture, and lengths of LLaVA's answers."""


class Part(NamedTuple):
    """A part of the model that could be trained."""

    name: str
    tensors: int
    """How many are trained."""
    trained: int
    """Trained parameters."""
    parameters: int
    """All of its own, adapters not counted."""


class Measured(NamedTuple):
    """Lengths, from pairs or assumed."""

    rows: Sequence[Row]
    pairs: int | None
    """All training pairs; None where there is no dataset yet."""
    inputs: PictureInputs
    """One picture, as the vision tower takes it."""


class TrainingPlan(NamedTuple):
    """What a training will do and need."""

    parts: tuple[Part, ...]
    pairs: int | None
    measured_pairs: int
    """Pairs whose lengths were measured; 0 where lengths are assumed."""
    steps: int | None
    tokens_per_step: float
    row_tokens_per_step: float
    """The same with a row for every answer."""
    longest_row: int
    """Tokens of the longest packed row."""
    memory: tuple[MemoryLine, ...]
    flops_per_pair: float
    row_flops_per_pair: float
    """With a row for every answer, and pictures and reference computed in every step."""

    @property
    def peak_bytes(self) -> float:
        """The most memory that is needed at once."""
        return peak_bytes(self.memory)


def plan_training(
    config: TrainConfig, folder: Path, pairs: Sequence[PreferencePair], picture: Callable[[str], Path], seed: int
) -> TrainingPlan:
    """Works out what training would do.

    Args:
        config: What is to be trained.
        folder: The model to start from.
        pairs: The training pairs; none where they are not made yet.
        picture: Image id -> file.
        seed: Decides the order.

    Raises:
        UserError: The model cannot be trained so, or a pair does not fit.
    """
    model, processor = load_skeleton(folder), load_processor(folder)
    family = family_of(model)
    renderer = Renderer(processor, stop_ids(model), config.max_length)
    if pairs:
        sampled = _sample(pairs)
        rows = renderer.rows(sampled, picture)
        shown = open_picture(picture(sampled[0].image_id))
    else:
        shown = Image.new("RGB", (512, 512))
        rows = _assumed_rows(renderer, shown, config.batch_size)
    measured = Measured(rows, len(pairs) or None, picture_inputs(processor, family, shown))
    return plan_model(config, Vlm(model, processor), family, measured, seed)


def plan_model(config: TrainConfig, vlm: Vlm, family: Family, measured: Measured, seed: int) -> TrainingPlan:
    """Works out what training a model would do; `vlm.model` lies on the meta device and becomes the policy."""
    model, rows = vlm.model, measured.rows
    shape, layers = shape_of(model, family, measured.inputs), layers_of(model)
    totals = _count_parameters(model, family)
    model.to(getattr(torch, config.dtype))
    policy = open_policy(vlm, family, config, seed)
    parts = tuple(_part(policy, name, totals[name]) for name in PARTS)
    batches = plan_epoch(rows, config.batch_size, config.questions_per_tree, random.Random(seed))
    image_token = frozenset({model.config.image_token_id})
    packed = [one for batch in batches for one in pack_rows(rows, batch, config.tokens_per_forward, image_token)]
    longest = max(packed, key=lambda one: len(one.tokens))
    trained = sum(part.trained for part in parts)
    weights = Weights(sum(one.nbytes for one in model.parameters()), trained, config.lora is None)
    if config.lora:
        shape = shape._replace(adapters=parts[0].trained)
    trees, sequences, training = _work(config, model, family, packed, rows, shape)
    steps = None if measured.pairs is None else math.ceil(measured.pairs / config.batch_size) * config.epochs
    share = config.batch_size / len(rows)
    joins = config.device != "cpu" or any(shape.windows)
    kept = Packed(len(longest.tokens), _joined_keys(longest) if joins else len(longest.tokens))
    return TrainingPlan(
        parts=parts,
        pairs=measured.pairs,
        measured_pairs=len(rows) if measured.pairs else 0,
        steps=steps,
        tokens_per_step=sum(len(one.tokens) for one in packed) * share,
        row_tokens_per_step=sum(map(row_tokens, rows)) * share,
        longest_row=len(longest.tokens),
        memory=memory_lines(weights, layers, kept, config.dtype, checkpointing=config.gradient_checkpointing),
        flops_per_pair=step_flops(trees, training, kept=True) / len(rows),
        row_flops_per_pair=step_flops(sequences, training, kept=False) / len(rows),
    )


def _work(
    config: TrainConfig,
    model: Model,
    family: Family,
    packed: Sequence[PackedTrees],
    rows: Sequence[Row],
    shape: ModelShape,
) -> tuple[Forward, Forward, Training]:
    """Returns the forward work of all rows, packed and one by one, and what is trained."""
    trees = Forward._make(map(sum, zip(*(tree_flops(one, shape) for one in packed), strict=True)))
    tower = Tower(model, family)
    share = 1.0 if config.vision_blocks == "all" else config.vision_blocks / tower.depth
    if not share:  # its features are kept, so a picture that two steps need is still computed once
        pictures = len({row.image_id for row in rows})
        trees = trees._replace(tower=shape.tower * pictures)
        if not config.projector:
            trees = trees._replace(projector=shape.projector * pictures)
    training = Training(config.lora is None, config.projector, share, config.gradient_checkpointing, config.epochs)
    return trees, rows_flops(rows, shape), training


def _count_parameters(model: Any, family: Family) -> dict[str, int]:  # noqa: ANN401  # untyped library
    totals = dict.fromkeys(PARTS, 0)
    for name, parameter in model.named_parameters():
        totals[family.part(name) or "language"] += parameter.numel()
    return totals


def _part(policy: Policy, name: str, total: int) -> Part:
    trained = policy.parts[name].values()
    return Part(name, len(trained), sum(one.numel() for one in trained), total)


def _joined_keys(packed: PackedTrees) -> int:
    """Returns the keys kept where each node's call has its ancestors' joined to its own (`train/attention.py`)."""
    lengths = [segment.end - segment.start for segment in packed.segments]
    return sum(
        sum(lengths[node] for node in segment.path) + lengths[place] for place, segment in enumerate(packed.segments)
    )


def _sample(pairs: Sequence[PreferencePair]) -> list[PreferencePair]:
    sampled: list[PreferencePair] = []
    ordered = sorted(pairs, key=lambda pair: pair.image_id)
    for place, pair in enumerate(ordered):
        if len(sampled) >= SAMPLE and pair.image_id != ordered[place - 1].image_id:
            break
        sampled.append(pair)
    return sampled


def _assumed_rows(renderer: Renderer, picture: Image.Image, batch_size: int) -> list[Row]:
    """Returns rows of the assumed lengths for a few whole pictures, behind the model's real prompt."""
    opening = renderer.prompt("", picture)
    rows = []
    for number in range(max(batch_size, ASSUMED_QUESTIONS)):
        question = (number % ASSUMED_QUESTIONS,) * ASSUMED_QUESTION_TOKENS
        answers = tuple((side,) * ASSUMED_ANSWER_TOKENS for side in (0, 1))
        row = Row(f"assumed-{number}", f"picture-{number // ASSUMED_QUESTIONS}", (*opening, *question), answers)
        rows.append(row)
    return rows
