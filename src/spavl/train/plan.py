"""What a training will do and need, worked out before a weight is loaded: parts, steps, tokens, memory, disk, work.

The model is built without weights from its config.json; some pairs are rendered and packed as training does it. It
neither trains nor estimates seconds, which depend on the machine.
"""

import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image

from spavl.config import RewardModelConfig, TrainConfig
from spavl.models.loading import Vlm, load_processor, load_skeleton
from spavl.records import PreferencePair
from spavl.train.corrupted import corrupted_twins
from spavl.train.disk import Kept, disk_lines, saving_line, written_bytes
from spavl.train.families import Family, check_type, family_of
from spavl.train.families.tower import Tower
from spavl.train.flops import Forward, ModelShape, Training, rows_flops, step_flops, tree_flops
from spavl.train.lengths import fitting_pairs
from spavl.train.losses import needs
from spavl.train.memory import MemoryLine, Packed, Weights, memory_lines, peak_bytes
from spavl.train.model_shape import (
    Model,
    PictureInputs,
    kept_picture_bytes,
    layers_of,
    picture_inputs,
    shape_of,
    shared_bytes,
    tower_blocks,
)
from spavl.train.policy import PARTS, Policy, open_policy
from spavl.train.render import Renderer, Row, open_picture, stop_ids
from spavl.train.reward import add_heads
from spavl.train.tree import PackedTrees, pack_rows, plan_epoch, row_tokens
from spavl.train.vision_cache import VisionTraining, trained_blocks
from spavl.train_config import answer_tokens

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


class Offered(NamedTuple):
    """The training pairs, as far as they are at hand."""

    pairs: Sequence[PreferencePair] = ()
    """All of them, a sample, or none."""
    picture: Callable[[str], Path] = Path
    """Image id -> file."""
    number: int | None = None
    """How many there are about, where `pairs` is a sample of rows that are not read yet."""
    words: str = "there are no pairs yet"
    """Why there are none, or what `pairs` is a sample of."""
    stored_bytes: int = 0
    """Bytes of the pictures' copies, where reading the rows has yet to write them."""


class Measured(NamedTuple):
    """Lengths, from pairs or assumed."""

    rows: Sequence[Row]
    pairs: int | None
    """All training pairs; None where there is no dataset yet."""
    inputs: PictureInputs
    """One picture, as the vision tower takes it."""
    pictures: int | None = None
    """All pictures of the training pairs."""
    exact: bool = True
    """Whether the numbers of pairs and pictures are known, or else estimated."""
    words: str = ""
    """Where the lengths come from."""
    folder: Path | None = None
    """The model to start from, for the size of what is exported."""
    stored_bytes: int = 0
    """As in `Offered`."""


class TrainingPlan(NamedTuple):
    """What a training will do and need."""

    parts: tuple[Part, ...]
    pairs: int | None
    pairs_exact: bool
    measured_pairs: int
    """Pairs whose lengths were measured; 0 where lengths are assumed."""
    lengths: str
    """Where the lengths come from."""
    steps: int | None
    tokens_per_step: float
    row_tokens_per_step: float
    """The same with a row for every answer."""
    longest_row: int
    """Tokens of the longest packed row."""
    processes: int
    memory: tuple[MemoryLine, ...]
    """Of one device."""
    saving: MemoryLine
    disk: tuple[MemoryLine, ...]
    flops_per_pair: float
    row_flops_per_pair: float
    """With a row for every answer, and pictures and reference computed in every step."""

    @property
    def peak_bytes(self) -> float:
        """The most memory that is needed at once."""
        return peak_bytes(self.memory)

    @property
    def disk_bytes(self) -> float:
        """What is written in all, as far as it is known."""
        return sum(line.bytes for line in self.disk)


def plan_training(
    config: TrainConfig | RewardModelConfig, folder: Path, offered: Offered, seed: int, processes: int = 1
) -> TrainingPlan:
    """Works out what training would do.

    Args:
        config: What is to be trained.
        folder: The model to start from.
        offered: The training pairs.
        seed: Decides the order.
        processes: How many processes train together.

    Raises:
        UserError: The model cannot be trained so, or a pair does not fit.
    """
    check_type(folder)
    model, processor = load_skeleton(folder), load_processor(folder)
    family = family_of(model)
    renderer = Renderer(processor, stop_ids(model), answer_tokens=answer_tokens(config))
    if not offered.pairs:
        shown = Image.new("RGB", (512, 512))
        rows = _assumed_rows(renderer, shown, config.batch_size)
        inputs = picture_inputs(processor, family, shown)
        measured = Measured(rows, None, inputs, words=f"assumed: {offered.words}", folder=folder)
        return plan_model(config, Vlm(model, processor), family, measured, seed, processes)
    sampled = _sample(offered.pairs)
    rendered = renderer.rows(sampled, offered.picture)
    fitting = fitting_pairs(sampled, rendered, config, model.config.image_token_id)
    total = len(offered.pairs) if offered.number is None else offered.number
    known = {pair.image_id for pair in offered.pairs}
    all_rendered = offered.number is None and len(sampled) == total
    measured = Measured(
        rows=fitting.rows,
        pairs=round(total * len(fitting.rows) / len(sampled)),
        inputs=picture_inputs(processor, family, open_picture(offered.picture(sampled[0].image_id))),
        pictures=round(len(known) * total / len(offered.pairs)),
        exact=all_rendered or (offered.number is None and not fitting.too_long),
        words=offered.words if offered.number is not None else f"measured on {len(sampled):,} of {total:,} pairs",
        folder=folder,
        stored_bytes=offered.stored_bytes,
    )
    return plan_model(config, Vlm(model, processor), family, measured, seed, processes)


def plan_model(
    config: TrainConfig | RewardModelConfig, vlm: Vlm, family: Family, measured: Measured, seed: int, processes: int = 1
) -> TrainingPlan:
    """Works out what training a model would do; `vlm.model` lies on the meta device and becomes the policy."""
    model, rows = vlm.model, measured.rows
    shape, layers = shape_of(model, family, measured.inputs), layers_of(model)
    totals = _count_parameters(model, family)
    model.to(getattr(torch, config.dtype))
    policy = open_policy(vlm, family, config, seed)
    if isinstance(config, RewardModelConfig):
        shape = shape._replace(head=0)  # answers are not projected to the vocabulary
        policy, heads = add_heads(policy, config, seed)
        totals["head"] = sum(head.weight.numel() for head in heads.values())
    parts = tuple(_part(policy, name, totals[name]) for name in policy.parts)
    twins = _twins(config, rows)
    units = _units(config, rows, twins, model.config.image_token_id, seed)
    packed = [one for unit in units for one in unit]
    longest = max(units, key=_tokens)
    trained = sum(part.trained for part in parts)
    if config.lora:
        shape = shape._replace(adapters=parts[0].trained)
    blocks = trained_blocks(Tower(model, family), VisionTraining(config.projector, config.vision_blocks))
    if blocks:
        layers = layers._replace(
            tower=tower_blocks(model, family, measured.inputs, blocks, sum(len(one.pictures) for one in longest))
        )
    weights = _weights(config, model, family, trained, processes)
    everything = [*rows, *twins]
    trees, sequences, training = _work(config, model, family, packed, everything, shape)
    steps = None if measured.pairs is None else math.ceil(measured.pairs / config.batch_size) * config.epochs
    share = min(config.batch_size, measured.pairs or config.batch_size) / len(rows)
    joins = config.device != "cpu" or any(shape.windows)
    kept = Packed(_tokens(longest), sum(map(_joined_keys, longest)) if joins else _tokens(longest))
    return TrainingPlan(
        parts=parts,
        pairs=measured.pairs,
        pairs_exact=measured.exact,
        measured_pairs=len(rows) if measured.pairs else 0,
        lengths=measured.words,
        steps=steps,
        tokens_per_step=_tokens(packed) * share,
        row_tokens_per_step=sum(map(row_tokens, everything)) * share,
        longest_row=max(len(one.tokens) for one in packed),
        processes=processes,
        memory=memory_lines(weights, layers, kept, config.dtype, checkpointing=config.gradient_checkpointing),
        saving=saving_line(trained, gathers=weights.cut > 0),
        disk=_disk(config, vlm, family, measured, trained),
        flops_per_pair=step_flops(trees, training, kept=True) / len(rows),
        row_flops_per_pair=step_flops(sequences, training, kept=False) / len(rows),
    )


def _twins(config: TrainConfig | RewardModelConfig, rows: Sequence[Row]) -> list[Row]:
    return corrupted_twins(rows) if needs(config, "corrupted") else []


def _units(
    config: TrainConfig | RewardModelConfig, rows: Sequence[Row], twins: Sequence[Row], picture_token: int, seed: int
) -> list[list[PackedTrees]]:
    """Returns what passes before each backward: a packed row, or with twins all that belongs to one picture."""
    everything = [*rows, *twins]

    def pack(places: Sequence[int]) -> list[PackedTrees]:
        return pack_rows(everything, places, config.tokens_per_forward, frozenset({picture_token}))

    units: list[list[PackedTrees]] = []
    for batch in plan_epoch(rows, config.batch_size, config.questions_per_tree, random.Random(seed)):
        if not twins:
            units += [[one] for one in pack(batch)]
            continue
        for image_id in dict.fromkeys(rows[place].image_id for place in batch):
            here = [place for place in batch if rows[place].image_id == image_id]
            units.append(pack([*here, *(len(rows) + place for place in here)]))
    return units


def _tokens(packed: Sequence[PackedTrees]) -> int:
    return sum(len(one.tokens) for one in packed)


def _weights(
    config: TrainConfig | RewardModelConfig, model: Model, family: Family, trained: int, processes: int
) -> Weights:
    held = sum(one.nbytes for one in model.parameters())
    weights = Weights(held, trained, config.lora is None, processes=processes)
    if processes == 1 or config.parallel == "replicate":
        return weights
    cut, gathered = shared_bytes(model, family, keeps_gathered=config.parallel == "zero2")
    return weights._replace(cut=cut, gathered=gathered)


def _disk(
    config: TrainConfig | RewardModelConfig, vlm: Vlm, family: Family, measured: Measured, trained: int
) -> tuple[MemoryLine, ...]:
    written = written_bytes(trained, config, measured.folder or Path())
    if measured.pairs is None or measured.pictures is None:
        return disk_lines(written, None)
    row = measured.rows[0]
    tokens = row.prompt.count(vlm.model.config.image_token_id)
    trains = VisionTraining(config.projector, config.vision_blocks)
    twins = _twins(config, measured.rows)
    answers = sum(len(answer) for one in (*measured.rows, *twins) for answer in one.answers)
    if not needs(config, "reference"):
        answers = 0
    kept = Kept(
        pictures=measured.pictures * (2 if twins else 1),
        picture_bytes=kept_picture_bytes(vlm.model, family, measured.inputs, trains, tokens),
        answer_tokens=round(measured.pairs * answers / len(measured.rows)),
        stored_bytes=measured.stored_bytes,
    )
    return disk_lines(written, kept)


def _work(
    config: TrainConfig | RewardModelConfig,
    model: Model,
    family: Family,
    packed: Sequence[PackedTrees],
    rows: Sequence[Row],
    shape: ModelShape,
) -> tuple[Forward, Forward, Training]:
    """Returns the forward work of all rows, packed and one by one, and what is trained."""
    trees = Forward._make(map(sum, zip(*(tree_flops(one, shape) for one in packed), strict=True)))
    tower = Tower(model, family)
    share = trained_blocks(tower, VisionTraining(config.projector, config.vision_blocks)) / tower.depth
    if not share:  # its features are kept, so a picture that two steps need is still computed once
        pictures = len({row.image_id for row in rows})
        trees = trees._replace(tower=shape.tower * pictures)
        if not config.projector:
            trees = trees._replace(projector=shape.projector * pictures)
    training = Training(
        config.lora is None,
        config.projector,
        share,
        config.gradient_checkpointing,
        config.epochs,
        needs(config, "reference"),
    )
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
