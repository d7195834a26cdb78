"""Opens what is trained on preference pairs: the model, its pairs as token ids, and the engine they pass through."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from spavl.models.loading import Vlm, holds_mark, load_vlm
from spavl.records import PreferencePair
from spavl.train.disk import check_room, written_bytes
from spavl.train.engine import Engine
from spavl.train.families import Family, check_type, family_of
from spavl.train.lengths import fitting_pairs
from spavl.train.parallel import Processes
from spavl.train.policy import Policy
from spavl.train.render import Renderer, Row, stop_ids
from spavl.train.sharding import shard
from spavl.train.vision_cache import Pictures, VisionTraining
from spavl.train_config import PairSettings, answer_tokens

_log = logging.getLogger(__name__)

C = TypeVar("C", bound=PairSettings)


class Job(NamedTuple, Generic[C]):
    """What is trained."""

    config: C
    pairs: Sequence[PreferencePair]
    files: Mapping[str, Path]
    """Image id -> file."""
    model_folder: Path
    output: Path
    seed: int
    held_out: Sequence[PreferencePair] = ()
    """Pairs that are only measured."""


class Opened(NamedTuple):
    """The model before anything in it is trained, and the pairs that fit."""

    vlm: Vlm
    family: Family
    renderer: Renderer
    pairs: Sequence[PreferencePair]
    rows: Sequence[Row]
    """The pairs, rendered."""
    too_long: int
    """Pairs that were left out."""

    def marks_broken(self) -> int:
        """Counts the questions that hold a mark of the chat template, which a space breaks."""
        return sum(holds_mark(self.vlm.processor, pair.question) for pair in self.pairs)


def open_model(job: Job[C], processes: Processes) -> Opened:
    """Loads the model and renders the pairs.

    Raises:
        UserError: The model cannot be trained, or a pair does not fit.
    """
    config = job.config
    check_type(job.model_folder)
    device = "cpu" if _shards(config, processes) else processes.device(config.device)
    vlm = load_vlm(job.model_folder, config.dtype, device)
    family = family_of(vlm.model)
    renderer = Renderer(vlm.processor, stop_ids(vlm.model), config.cache / "placeholders", answer_tokens(config))
    rendered = renderer.rows(job.pairs, job.files.__getitem__)
    pairs, rows, too_long = fitting_pairs(job.pairs, rendered, config, vlm.model.config.image_token_id)
    return Opened(vlm, family, renderer, pairs, rows, too_long)


def open_engine(
    job: Job[C], opened: Opened, policy: Policy, shown: Callable[[str], Path], processes: Processes
) -> tuple[Policy, Engine]:
    """Returns the engine, and the policy as it is then: cut up among the processes where that is wanted.

    Raises:
        RunError: The disk has no room for what will be written.
    """
    config, vlm, family = job.config, opened.vlm, opened.family
    if processes.is_main:
        written = written_bytes(sum(policy.count_trainable().values()), config, job.model_folder)
        check_room(job.output, written)
    trains = VisionTraining(config.projector, config.vision_blocks)
    pictures = Pictures(vlm, family, shown, trains, config.cache / "vision")
    engine = Engine(vlm.model, family, pictures, config.tokens_per_forward, policy.precision, processes)
    engine = engine._replace(flex=config.attention == "flex")
    if not _shards(config, processes):
        if config.parallel != "replicate":
            _log.warning(
                "train.parallel: %s cuts nothing up in one process; start several with torchrun or accelerate launch.",
                config.parallel,
            )
        return policy, engine
    keeps = config.parallel == "zero2"
    policy, root = shard(policy, family, processes, processes.device(config.device), keeps_gathered=keeps)
    return policy, engine._replace(processes=processes._replace(shards=True), root=root)


def _shards(config: PairSettings, processes: Processes) -> bool:
    return config.parallel != "replicate" and processes.number > 1
