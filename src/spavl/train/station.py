"""The training station: preference pairs and a model folder in, an aligned model folder out.

It may be killed at any moment and called again: it goes on from the last checkpoint, and once finished it answers
from `train.json` without opening the model. A folder with a checkpoint of other settings or data is refused.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict
from safetensors.torch import load_file
from torch.optim import AdamW

from spavl.config import TrainConfig, WeightSettings
from spavl.errors import UserError
from spavl.models.weights import weights_digest
from spavl.records import PreferencePair
from spavl.tracker_config import check_trackers
from spavl.train.attempt import identity_of, note_attempt, open_attempt
from spavl.train.checkpoint import TrainingState
from spavl.train.corrupted import Shown, corrupted_twins
from spavl.train.dpo import TrainingPairs, preference_task
from spavl.train.engine import Engine
from spavl.train.export import export_adapter, export_model
from spavl.train.loop import run_loop
from spavl.train.losses import RewardShift, needs
from spavl.train.opening import Job, open_engine, open_model
from spavl.train.parallel import Processes, check_device, follow, is_follower, lead, leading
from spavl.train.policy import Policy, open_policy
from spavl.train.reference_store import ReferenceStore, reference_fingerprint
from spavl.train.render import Row, picture_digest
from spavl.train.safety import safety_flags
from spavl.train.tree import PackedTrees

T = TypeVar("T")

PACKED_AT_ONCE = 1000
"""Rows that are packed together for the reference; more would hardly be packed tighter."""


class TrainResult(NamedTuple):
    """What training made."""

    model: Path
    """The merged model, a folder in the hub's layout."""
    adapter: Path | None
    """The adapter alone, in PEFT's layout; None where there is none."""
    checkpoint: Path
    metrics: Path
    """One JSON line an optimiser step."""
    steps: int
    alarms: int | None
    """Steps at which the chosen answers' log-probability had fallen below the reference's; None where that was not
    watched."""
    trainable: dict[str, int]
    """Part (`language`, `projector`, `vision`) -> trained parameters."""
    weights_sha256: str
    """SHA-256 over the merged model's folder."""
    dropped: Mapping[str, int] = MappingProxyType({})
    """Reason -> pairs that a rule left out."""
    marks_broken: int = 0
    """Questions that hold a mark of the chat template, such as the end of a turn, which a space breaks."""
    processes: int = 1
    """How many trained it."""

    @property
    def trainable_parameters(self) -> int:
        """Trained parameters of all parts."""
        return sum(self.trainable.values())


def train_dpo(
    config: TrainConfig,
    pairs: Sequence[PreferencePair],
    picture: Callable[[str], Path],
    model_folder: Path,
    output: Path,
    seed: int,
) -> TrainResult:
    """Aligns a model with direct preference optimisation.

    Args:
        config: Settings; `config.model` is only a name here.
        pairs: The training pairs.
        picture: Image id -> file.
        model_folder: The model to start from, in the hub's layout.
        output: Gets `model/`, `adapter/`, `checkpoints/step-N/`, `metrics.jsonl` and `train.json`.
        seed: Decides adapters' first weights, order and dropout.

    Raises:
        UserError: There are no pairs, one does not fit, the model cannot be trained, `output` was begun otherwise, or
            a tracker's package is missing.
        RunError: The loss is not finite, a checkpoint is damaged, or the disk is full.
    """
    if not pairs:
        raise UserError("There are no training pairs. Look at the dataset stage's manifest for what became of them.")
    identity = identity_of(config, pairs, model_folder, seed)
    finished = open_attempt(output, identity, _Finished)
    if finished is None:
        check_ready(config)
        files = {pair.image_id: picture(pair.image_id) for pair in pairs}
        counts = lead(_align, Job(config, pairs, files, model_folder, output, seed))
        _export(config, model_folder, output, counts["steps"])
        finished = _Finished(weights_sha256=weights_digest(output / "model"), **counts)
        note_attempt(output, identity, finished)
    return TrainResult(
        model=output / "model",
        adapter=None if config.lora is None else output / "adapter",
        checkpoint=output / "checkpoints" / f"step-{finished.steps}",
        metrics=output / "metrics.jsonl",
        **finished.model_dump(),
    )


def check_ready(config: WeightSettings) -> None:
    """Checks what training needs of this machine, so that it can be said before anything is read or downloaded.

    Raises:
        UserError: The device is not here, or a tracker's package is missing.
    """
    check_device(config.device)
    check_trackers(config.trackers)


def walk_or_follow(walk: Callable[[], T]) -> T | None:
    """Returns what `walk` does on the main process; the others take part in the training it comes to, and get None.

    Raises:
        UserError: A pair does not fit, or the model cannot be trained.
        RunError: A checkpoint is damaged, or another process was lost.
    """
    if is_follower():
        follow_training()
        return None
    with leading():
        return walk()


def follow_training() -> None:
    """Takes part in the training that another process leads with `train_dpo`, on a machine that sees the same files.

    Raises:
        UserError: A pair does not fit, or the model cannot be trained.
        RunError: A checkpoint is damaged, or another process was lost.
    """
    follow()


class _Finished(BaseModel):
    """What is noted of a finished training; `TrainResult` says more of it."""

    model_config = ConfigDict(strict=True, extra="forbid")

    steps: int
    alarms: int | None
    trainable: dict[str, int]
    weights_sha256: str
    dropped: dict[str, int] = {}
    marks_broken: int = 0
    processes: int = 1


def _align(job: Job[TrainConfig], processes: Processes) -> dict[str, Any]:
    """Trains; the model's memory is given back before it is exported."""
    config, output, seed = job.config, job.output, job.seed
    opened = open_model(job, processes)
    shown = Shown(job.files.__getitem__, output / "corrupted" / str(seed), seed)
    rows = opened.rows
    twins = corrupted_twins(rows) if needs(config, "corrupted") else []
    policy = open_policy(opened.vlm, opened.family, config, seed, job.model_folder)
    policy, engine = open_engine(job, opened, policy, shown, processes)
    reference = twins_reference = None
    if needs(config, "reference"):
        model = f"{weights_digest(job.model_folder)} {policy.numerics()}"
        reference = _reference(engine, policy, config, rows, model, shown)
        twins_reference = _reference(engine, policy, config, twins, model, shown) if twins else None
    optimizer = AdamW(policy.parameter_groups(config), betas=(0.9, 0.999), eps=1e-8, fused=True)
    state = TrainingState(policy.trainable(), optimizer, RewardShift.start() if needs(config, "shift") else None)
    data = TrainingPairs(opened.pairs, rows, safety_flags(opened.pairs), reference, twins, twins_reference)
    result = run_loop(preference_task(engine, data, config, state), state, config, output, seed)
    trainable, dropped = policy.count_trainable(), {"too_long": opened.too_long}
    counts = {
        "steps": result.steps,
        "alarms": result.alarms,
        "marks_broken": opened.marks_broken(),
        "processes": processes.number,
    }
    return counts | {"trainable": trainable, "dropped": dropped}


def _reference(
    engine: Engine,
    policy: Policy,
    config: TrainConfig,
    rows: Sequence[Row],
    model: str,
    shown: Callable[[str], Path],
) -> ReferenceStore:
    """Returns the reference log-probabilities of these rows; the untrained policy computes what is not stored."""
    digests = [picture_digest(shown(row.image_id)) for row in rows]
    store = ReferenceStore(config.cache / "reference", reference_fingerprint(model, config.dtype, rows, digests), rows)
    if store.missing():
        with policy.as_reference():
            store.fill(_packed(engine, rows), engine.run, engine.processes)
    return store


def _packed(engine: Engine, rows: Sequence[Row]) -> list[PackedTrees]:
    """Packs all rows, some pictures at a time: of a large dataset it takes a minute or more."""
    first: dict[str, int] = {}
    order = sorted(range(len(rows)), key=lambda place: first.setdefault(rows[place].image_id, place))
    packed: list[PackedTrees] = []
    with engine.processes.progress("pack", len(rows)) as advance:
        for start in range(0, len(order), PACKED_AT_ONCE):
            packed += engine.pack(rows, order[start : start + PACKED_AT_ONCE])
            advance(min(PACKED_AT_ONCE, len(order) - start))
    return packed


def _export(config: TrainConfig, model_folder: Path, output: Path, step: int) -> None:
    trained = load_file(output / "checkpoints" / f"step-{step}" / "trained.safetensors")
    if config.lora is not None:
        export_adapter(model_folder, trained, config.lora, output / "adapter")
    export_model(model_folder, trained, config.lora, output / "model")
