"""The training loop: order, schedule, update, log and checkpoint.

Order, learning rate and random numbers of a step are functions of (seed, step) alone, so a run that goes on from a
checkpoint is bitwise the run that was never stopped.
"""

import json
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch

from spavl.errors import RunError
from spavl.records import PreferencePair
from spavl.store.files import write_atomically
from spavl.train.checkpoint import TrainingState, checkpoint_steps, load_checkpoint, save_checkpoint
from spavl.train.metrics import MetricsLog, shown_figures
from spavl.train.parallel import Processes
from spavl.train.render import Row
from spavl.train.sharding import clip_gradients
from spavl.train.trackers import open_trackers
from spavl.train.tree import plan_epoch
from spavl.train_config import PairSettings, WeightSettings

TOLD = {"id", "read_from", "image_id", "question", "chosen", "rejected"}
"""What is kept of each pair of a batch that failed."""


class StepMetrics(Protocol):
    """What is logged of a step: a named tuple."""

    @property
    def loss(self) -> float:
        """The mean over the batch's pairs."""

    def _asdict(self) -> dict[str, Any]: ...


class Task(NamedTuple):
    """What is trained, a batch of pairs at a time."""

    records: Sequence[PreferencePair]
    rows: Sequence[Row]
    """The records, rendered."""
    processes: Processes
    """Who shares the work."""
    accumulate: Callable[[Sequence[int]], StepMetrics]
    """Runs these rows forward and backward; gradients add up in the parameters."""


class LoopResult(NamedTuple):
    """What the loop did, over all attempts."""

    steps: int
    alarms: int | None
    """Steps at which the chosen answers' log-probability had fallen below the reference's; None where unwatched."""


def run_loop(task: Task, state: TrainingState, config: PairSettings, output: Path, seed: int) -> LoopResult:
    """Trains to the end, from the newest checkpoint under `output` if there is one.

    Raises:
        UserError: A tracker's package is missing, or W&B does not start.
        RunError: The loss or the gradient is not finite, a checkpoint is damaged, or the disk is full.
    """
    processes = task.processes
    checkpoints = output / "checkpoints"
    total = steps_per_epoch(config, len(task.rows)) * config.epochs
    saved = processes.gather(checkpoint_steps(checkpoints))[0]
    done = load_checkpoint(checkpoints / f"step-{saved[-1]}", state) if saved else 0
    log = MetricsLog(output / "metrics.jsonl", done) if processes.is_main else None
    order = Order(task.rows, config, seed)
    trackers = open_trackers(config, output, done, log.reached) if log else nullcontext(_untracked)
    with trackers as track, processes.progress("train", total, done) as advance:
        for step in range(done + 1, total + 1):
            started = time.perf_counter()
            torch.manual_seed(_derived_seed(seed, f"step {processes.rank}", step))
            places = order.places(step)
            metrics = task.accumulate(places)
            norm = clip_gradients(state.parameters, config.max_grad_norm)
            if processes.is_main:  # the others have the same numbers, and end with it
                _check_finite(metrics, norm, step, [task.records[place] for place in places], config, output)
            factor = schedule(config, step, total)
            _update(state, factor)
            rate = config.learning_rate * factor
            if log:
                line = {"step": step, **metrics._asdict(), "grad_norm": norm, "learning_rate": rate}
                line = log.append(line | {"seconds": round(time.perf_counter() - started, 4)})
                track(line)
            if step % config.save_every == 0 or step == total:
                save_checkpoint(checkpoints, step, state, writes=processes.is_main)
            advance(1, shown_figures(line) if log else None)
    return LoopResult(total, log.alarms if log else None)


class Order:
    """Which rows make up the batch of each step; each epoch has its own order."""

    def __init__(self, rows: Sequence[Row], config: PairSettings, seed: int) -> None:
        self._rows, self._config, self._seed = rows, config, seed
        self._epoch = -1
        self._plan: list[list[int]] = []

    def places(self, step: int) -> list[int]:
        """Returns the rows of a step, counted from 1."""
        epoch, number = divmod(step - 1, steps_per_epoch(self._config, len(self._rows)))
        if epoch != self._epoch:
            rng = random.Random(_derived_seed(self._seed, "epoch", epoch))
            self._plan = plan_epoch(self._rows, self._config.batch_size, self._config.questions_per_tree, rng)
            self._epoch = epoch
        return self._plan[number]


def steps_per_epoch(config: PairSettings, pairs: int) -> int:
    """Returns the optimiser steps of one epoch; the last batch may be a smaller one."""
    return math.ceil(pairs / config.batch_size)


def schedule(config: WeightSettings, step: int, total: int) -> float:
    """Returns the factor of every learning rate at a step, counted from 1: a linear warm-up, then half a cosine."""
    if step <= config.warmup_steps:
        return step / config.warmup_steps
    progress = (step - 1 - config.warmup_steps) / (total - config.warmup_steps)
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def _derived_seed(seed: int, purpose: str, number: int) -> int:
    return random.Random(f"{seed}/{purpose}/{number}").getrandbits(63)


def _untracked(line: Mapping[str, Any]) -> None:
    """Tracks nothing: only the main process does."""


def _update(state: TrainingState, factor: float) -> None:
    for group in state.optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor
    state.optimizer.step()
    state.optimizer.zero_grad(set_to_none=True)


def _check_finite(
    metrics: StepMetrics, norm: float, step: int, records: Sequence[PreferencePair], config: PairSettings, output: Path
) -> None:
    if math.isfinite(metrics.loss) and math.isfinite(norm):
        return
    path = output / "failed_batch.json"
    figures = {"step": step, **metrics._asdict(), "grad_norm": norm}
    pairs = [record.model_dump(include=TOLD, mode="json") for record in records]
    body = json.dumps(_finite({**figures, "pairs": pairs}), indent=2, ensure_ascii=False)
    write_atomically(path, body.encode() + b"\n")
    exact = "" if config.dtype == "float32" else " or train.dtype=float32"
    again = " together with --restart-from train" if checkpoint_steps(output / "checkpoints") else ""
    raise RunError(
        f"Step {step}: the loss is {metrics.loss} and the gradient norm {norm}. Nothing was updated; the batch is in "
        f"{path}. Try a lower train.learning_rate{exact}{again}, or leave the pairs named there out."
    )


def _finite(value: Any) -> Any:  # noqa: ANN401  # JSON
    """Returns figures as JSON can hold them: null for a number that is none."""
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
