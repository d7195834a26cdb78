"""The training loop: order, schedule, update, log and checkpoint.

Order, learning rate and random numbers of a step are functions of (seed, step) alone, so a run that goes on from a
checkpoint is bitwise the run that was never stopped.
"""

import json
import math
import random
import time
from pathlib import Path
from typing import NamedTuple

import torch

from spavl.config import TrainConfig
from spavl.errors import RunError
from spavl.execution import progress_bar
from spavl.store.files import write_atomically
from spavl.train.checkpoint import TrainingState, checkpoint_steps, load_checkpoint, save_checkpoint
from spavl.train.dpo import BatchMetrics, TrainingPairs, accumulate_gradients
from spavl.train.metrics import MetricsLog
from spavl.train.policy import Policy


class LoopResult(NamedTuple):
    """What the loop did, over all attempts."""

    steps: int
    alarms: int
    """Steps at which the chosen answers' log-probability had fallen below the reference's."""


def run_loop(
    policy: Policy, state: TrainingState, pairs: TrainingPairs, config: TrainConfig, output: Path, seed: int
) -> LoopResult:
    """Trains to the end, from the newest checkpoint under `output` if there is one.

    Raises:
        RunError: The loss or the gradient is not finite, a checkpoint is damaged, or the disk is full.
    """
    checkpoints = output / "checkpoints"
    total = steps_per_epoch(config, len(pairs.rows)) * config.epochs
    saved = checkpoint_steps(checkpoints)
    done = load_checkpoint(checkpoints / f"step-{saved[-1]}", state) if saved else 0
    log = MetricsLog(output / "metrics.jsonl", done)
    with progress_bar("train", total, done) as advance:
        for step in range(done + 1, total + 1):
            started = time.perf_counter()
            torch.manual_seed(_derived_seed(seed, "step", step))
            batch = pairs.select(batch_places(config, len(pairs.rows), seed, step))
            metrics = accumulate_gradients(policy, batch, config)
            norm = float(torch.nn.utils.clip_grad_norm_(state.parameters.values(), config.max_grad_norm))
            _check_finite(metrics, norm, step, batch, output)
            rate = learning_rate(config, step, total)
            _update(state, rate)
            line = {"step": step, **metrics._asdict(), "grad_norm": norm, "learning_rate": rate}
            log.append(line | {"seconds": round(time.perf_counter() - started, 4)})
            if step % config.save_every == 0 or step == total:
                save_checkpoint(checkpoints, step, state)
            advance(1)
    return LoopResult(total, log.alarms)


def steps_per_epoch(config: TrainConfig, pairs: int) -> int:
    """Returns the optimiser steps of one epoch; the last batch may be a smaller one."""
    return math.ceil(pairs / config.batch_size)


def batch_places(config: TrainConfig, pairs: int, seed: int, step: int) -> list[int]:
    """Returns which pairs make up the batch of a step, counted from 1; each epoch has its own order."""
    epoch, number = divmod(step - 1, steps_per_epoch(config, pairs))
    order = random.Random(_derived_seed(seed, "epoch", epoch)).sample(range(pairs), pairs)
    return order[number * config.batch_size : (number + 1) * config.batch_size]


def learning_rate(config: TrainConfig, step: int, total: int) -> float:
    """Returns the rate of a step, counted from 1: a linear warm-up, then half a cosine down towards zero."""
    if step <= config.warmup_steps:
        return config.learning_rate * step / config.warmup_steps
    progress = (step - 1 - config.warmup_steps) / (total - config.warmup_steps)
    return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * progress))


def _derived_seed(seed: int, purpose: str, number: int) -> int:
    return random.Random(f"{seed}/{purpose}/{number}").getrandbits(63)


def _update(state: TrainingState, rate: float) -> None:
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    state.optimizer.step()
    state.optimizer.zero_grad(set_to_none=True)


def _check_finite(metrics: BatchMetrics, norm: float, step: int, batch: TrainingPairs, output: Path) -> None:
    if math.isfinite(metrics.loss) and math.isfinite(norm):
        return
    path = output / "failed_batch.json"
    body = {"step": step, **metrics._asdict(), "grad_norm": norm, "rows": [row._asdict() for row in batch.rows]}
    write_atomically(path, json.dumps(body).encode() + b"\n")
    raise RunError(
        f"Step {step}: the loss is {metrics.loss} and the gradient norm {norm}. Nothing was updated; the batch is in "
        f"{path}. Try a lower train.learning_rate, train.dtype=float32, or leave the pairs named there out."
    )
