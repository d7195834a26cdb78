"""Checkpoints: what training needs to go on exactly where it stopped.

A checkpoint is a folder `step-N` that appears whole or not at all: adapter and optimiser as safetensors under live
parameter names, and `state.json`. Loading is strict: a missing, unknown or misshapen tensor is an error. There is no
random state in it, because every step seeds its own (`loop.py`), and no learning rate, which is a function of the step.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor
from torch.nn import Parameter
from torch.optim import AdamW

from spavl.errors import RunError
from spavl.store.files import disk_errors_named, write_atomically

KEPT = 2
"""Checkpoints that are kept: the newest, and one to go back to should it be damaged."""
MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""AdamW's state of one parameter."""


class TrainingState(NamedTuple):
    """What changes while training."""

    parameters: dict[str, Parameter]
    """Live name -> trainable parameter, in the optimiser's order."""
    optimizer: AdamW


def save_checkpoint(root: Path, step: int, state: TrainingState) -> Path:
    """Writes `root/step-N` and removes all but the newest checkpoints.

    Raises:
        RunError: The disk is full; older checkpoints are kept.
    """
    target = root / f"step-{step}"
    with new_folder(target) as folder:
        write_atomically(folder / "adapter.safetensors", save(_detached(state.parameters)))
        write_atomically(folder / "optimizer.safetensors", save(_moments(state)))
        write_atomically(folder / "state.json", json.dumps({"step": step}).encode())
    for old in checkpoint_steps(root)[:-KEPT]:
        shutil.rmtree(root / f"step-{old}")
    return target


def load_checkpoint(folder: Path, state: TrainingState) -> int:
    """Puts a checkpoint's tensors into the state and returns its step.

    Raises:
        RunError: A file is damaged, or does not hold exactly the tensors of this training.
    """
    try:
        adapter = load_file(folder / "adapter.safetensors")
        moments = load_file(folder / "optimizer.safetensors")
        step = int(json.loads((folder / "state.json").read_bytes())["step"])
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise RunError(
            f"The checkpoint {folder} is damaged ({reason}). Remove that folder, and training goes on from the "
            "checkpoint before it."
        ) from error
    _check_tensors(folder / "adapter.safetensors", adapter, _detached(state.parameters))
    _check_tensors(folder / "optimizer.safetensors", moments, _empty_moments(state.parameters))
    with torch.no_grad():
        for name, parameter in state.parameters.items():
            parameter.copy_(adapter[name])
    slots = {
        index: {moment: moments[f"{name}.{moment}"] for moment in MOMENTS}
        for index, name in enumerate(state.parameters)
    }
    state.optimizer.load_state_dict({"state": slots, "param_groups": state.optimizer.state_dict()["param_groups"]})
    return step


def checkpoint_steps(root: Path) -> list[int]:
    """Returns the steps that have a checkpoint, ascending."""
    return sorted(int(path.name.removeprefix("step-")) for path in root.glob("step-*"))


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yields a temporary folder that becomes `target` at the end; what stood there is replaced.

    Raises:
        RunError: The disk is full or the folder may not be written.
    """
    temporary = target.with_name(f".{target.name}.partial")
    with disk_errors_named(target):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        for path in temporary.iterdir():
            _flush(path)
        _flush(temporary)
        if target.exists():
            shutil.rmtree(target)
        temporary.rename(target)
        _flush(target.parent)


def _flush(path: Path) -> None:
    """Waits until a file or a folder's list of names is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _detached(parameters: Mapping[str, Parameter]) -> dict[str, Tensor]:
    return {name: parameter.detach().contiguous() for name, parameter in parameters.items()}


def _moments(state: TrainingState) -> dict[str, Tensor]:
    known = state.optimizer.state
    return {
        f"{name}.{moment}": known[parameter][moment].contiguous()
        for name, parameter in state.parameters.items()
        for moment in MOMENTS
    }


def _empty_moments(parameters: Mapping[str, Parameter]) -> dict[str, Tensor]:
    """Returns tensors of the shapes that AdamW's state must have."""
    shapes = {"step": torch.zeros(())}
    return {
        f"{name}.{moment}": shapes.get(moment, parameter.detach())
        for name, parameter in parameters.items()
        for moment in MOMENTS
    }


def _check_tensors(path: Path, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    missing, unknown = wanted.keys() - found.keys(), found.keys() - wanted.keys()
    if missing or unknown:
        example = min(missing or unknown)
        raise RunError(
            f"{path} belongs to another training: {len(missing)} tensors are missing and {len(unknown)} unknown, "
            f"for example {example}. Use another run name, or start again with --restart-from train."
        )
    for name, tensor in wanted.items():
        if (found[name].shape, found[name].dtype) != (tensor.shape, tensor.dtype):
            raise RunError(
                f"{path} belongs to another training: {name} is {found[name].dtype} {tuple(found[name].shape)}, "
                f"and should be {tensor.dtype} {tuple(tensor.shape)}. Use another run name, or start again with "
                "--restart-from train."
            )
