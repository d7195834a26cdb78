"""Trackers: TensorBoard, trackio and W&B get each step's figures; `metrics.jsonl` is written with or without them.

Training that goes on goes on in the same run of each tracker, and none shows a step twice: TensorBoard forgets what
came after the checkpoint, and the others, which forget nothing, are not sent again what an earlier attempt sent. Where
a process is killed, the last moments that trackio and W&B had not written down yet are missing there.
"""

import json
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

from spavl.errors import UserError
from spavl.store.files import disk_errors_named, write_atomically
from spavl.tracker_config import TrackerName, check_trackers
from spavl.train_config import WeightSettings

PROJECT = "spavl"
"""Where trackio and W&B keep the runs."""

Track = Callable[[int, Mapping[str, float]], None]
"""Takes a step and its figures, name -> value."""


class TrackedRun(NamedTuple):
    """What a tracker is told when it is opened."""

    id: str
    """The same for all attempts of one training."""
    output: Path
    """The training's folder."""
    settings: dict[str, Any]
    done: int
    """The step training goes on from."""
    sent: int
    """The last step that an earlier attempt sent."""

    @property
    def name(self) -> str:
        """The run's name and its id."""
        return f"{self.output.parent.name}-{self.id}"


@contextmanager
def open_trackers(
    config: WeightSettings, output: Path, done: int, reached: int
) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Yields a function that gives a line of the training log to every tracker of `config.trackers`.

    Args:
        config: Settings.
        output: The training's folder; it gets `tracking.json`, and what the trackers write.
        done: The step training goes on from.
        reached: The last step of the training log that an earlier attempt left.

    Raises:
        UserError: A tracker's package is missing, or W&B does not start.
        RunError: The disk is full.
    """
    check_trackers(config.trackers)
    with ExitStack() as stack:
        tracks: list[Track] = []
        if config.trackers:
            run = _tracked_run(config, output, done, reached)
            tracks = [stack.enter_context(OPENERS[name](run)) for name in config.trackers]

        def track(line: Mapping[str, Any]) -> None:
            for one in tracks:
                one(line["step"], flat_figures(line))

        yield track


def flat_figures(line: Mapping[str, Any]) -> dict[str, float]:
    """Returns `train/loss`, `train/margins_by_length/longer`, …; what was not measured is left out."""
    flat: dict[str, float] = {}
    for name, value in line.items():
        nested = value if isinstance(value, Mapping) else {"": value}
        flat |= {f"train/{name}/{key}".rstrip("/"): float(one) for key, one in nested.items() if one is not None}
    del flat["train/step"]
    return flat


def _tracked_run(config: WeightSettings, output: Path, done: int, reached: int) -> TrackedRun:
    """Returns the run that an earlier attempt began, or a new one, and notes what has been sent."""
    path = output / "tracking.json"
    known: dict[str, Any] = json.loads(path.read_bytes()) if path.exists() else {"id": secrets.token_hex(4), "sent": 0}
    sent = max(known["sent"], reached)
    write_atomically(path, json.dumps(known | {"sent": sent}).encode() + b"\n")
    return TrackedRun(known["id"], output, config.model_dump(mode="json"), done, sent)


@contextmanager
def _tensorboard(run: TrackedRun) -> Iterator[Track]:
    from torch.utils.tensorboard import SummaryWriter

    folder = run.output / "tensorboard"
    with disk_errors_named(folder):
        writer = SummaryWriter(folder, purge_step=run.done + 1)

    def track(step: int, figures: Mapping[str, float]) -> None:
        with disk_errors_named(folder):
            for name, value in figures.items():
                writer.add_scalar(name, value, step)
            writer.flush()  # what was tracked outlives the process

    try:
        yield track
    finally:
        with disk_errors_named(folder):
            writer.close()


@contextmanager
def _trackio(run: TrackedRun) -> Iterator[Track]:
    import trackio

    with redirect_stdout(sys.stderr):
        opened = trackio.init(project=PROJECT, name=run.name, config=run.settings, resume="allow")

    def track(step: int, figures: Mapping[str, float]) -> None:
        if step > run.sent:
            opened.log(dict(figures), step=step)

    try:
        yield track
    finally:
        with redirect_stdout(sys.stderr):
            trackio.finish()


@contextmanager
def _wandb(run: TrackedRun) -> Iterator[Track]:
    import wandb

    try:
        with redirect_stdout(sys.stderr):
            opened = wandb.init(
                project=PROJECT, id=run.id, name=run.name, resume="allow", dir=run.output, config=run.settings
            )
    except wandb.errors.Error as error:
        raise UserError(
            f"train.trackers: wandb did not start: {error} Log in, set WANDB_MODE=offline, or leave wandb out."
        ) from error

    def track(step: int, figures: Mapping[str, float]) -> None:
        if step > run.sent:
            opened.log(dict(figures), step=step)

    with opened:
        yield track


OPENERS: Mapping[TrackerName, Callable[[TrackedRun], AbstractContextManager[Track]]] = {
    "tensorboard": _tensorboard,
    "trackio": _trackio,
    "wandb": _wandb,
}
