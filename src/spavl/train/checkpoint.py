"""Checkpoints: what training needs to go on exactly where it stopped.

A checkpoint is a folder `step-N` that appears whole or not at all: trained weights and optimiser as safetensors under
live parameter names, and `state.json`. Loading is strict: a missing, unknown or misshapen tensor is an error. There is
no random state in it, because every step seeds its own (`loop.py`), and no learning rate: it follows from the step.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor
from torch.nn import Parameter
from torch.optim import AdamW

from spavl.errors import RunError
from spavl.store.files import disk_errors_named, write_atomically
from spavl.train.losses import RewardShift
from spavl.train.sharding import cut_like, whole

KEPT = 2
"""Checkpoints that are kept: the newest, and one to go back to should it be damaged."""
MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""AdamW's state of one parameter."""


@dataclass
class TrainingState:
    """What changes while training."""

    parameters: dict[str, Parameter]
    """Live name -> trainable parameter, in the optimiser's order."""
    optimizer: AdamW
    shift: RewardShift | None = None
    """BCO's running mean of rewards, where a loss has one."""


def save_checkpoint(root: Path, step: int, state: TrainingState, *, writes: bool = True) -> Path:
    """Writes `root/step-N` and removes all but the newest checkpoints.

    Args:
        root: The folder of all checkpoints.
        step: Which step was done.
        state: What is saved, whole, however it is cut up among processes.
        writes: Whether this process is the one that writes; the others only give their parts.

    Raises:
        RunError: The disk is full; older checkpoints are kept.
    """
    target = root / f"step-{step}"
    trained = {name: whole(parameter, kept=writes) for name, parameter in state.parameters.items()}
    moments = _moments(state, kept=writes)
    if not writes:
        return target
    with new_folder(target) as folder:
        write_atomically(folder / "trained.safetensors", save(trained))
        write_atomically(folder / "optimizer.safetensors", save(moments))
        numbers = {"step": step, "reward_shift": _numbers(state.shift)}
        write_atomically(folder / "state.json", json.dumps(numbers).encode())
    for old in checkpoint_steps(root)[:-KEPT]:
        shutil.rmtree(root / f"step-{old}")
    return target


def load_checkpoint(folder: Path, state: TrainingState) -> int:
    """Puts a checkpoint's tensors into the state and returns its step.

    Raises:
        RunError: A file is damaged, or does not hold exactly the tensors of this training.
    """
    try:
        trained = load_file(folder / "trained.safetensors")
        moments = load_file(folder / "optimizer.safetensors")
        numbers = json.loads((folder / "state.json").read_bytes())
        step, shift = int(numbers["step"]), numbers["reward_shift"]
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise RunError(
            f"The checkpoint {folder} is damaged ({reason}). Remove that folder, and training goes on from the "
            "checkpoint before it."
        ) from error
    _check_tensors(folder / "trained.safetensors", trained, state.parameters)
    _check_tensors(folder / "optimizer.safetensors", moments, _empty_moments(state.parameters))
    with torch.no_grad():
        for name, parameter in state.parameters.items():
            parameter.copy_(cut_like(trained[name], parameter))
    if state.shift is not None:
        state.shift = RewardShift(*(torch.tensor(number, dtype=torch.float64) for number in shift))
    slots = {
        index: {moment: cut_like(moments[f"{name}.{moment}"], parameter) for moment in MOMENTS}
        for index, (name, parameter) in enumerate(state.parameters.items())
    }
    state.optimizer.load_state_dict({"state": slots, "param_groups": state.optimizer.state_dict()["param_groups"]})
    return step


def checkpoint_steps(root: Path) -> list[int]:
    """Returns the steps that have a checkpoint, ascending."""
    return sorted(int(path.name.removeprefix("step-")) for path in root.glob("step-*"))


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yields a temporary folder that becomes `target` at the end, or is removed; what stood there is replaced.

    Raises:
        RunError: The disk is full or the folder may not be written.
    """
    temporary = target.with_name(f".{target.name}.partial")
    with disk_errors_named(target):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            yield temporary
            for path in temporary.iterdir():
                _flush(path)
            _flush(temporary)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)  # half a model would keep a full disk full
            raise
        if target.exists():
            shutil.rmtree(target)
        temporary.rename(target)
        _flush(target.parent)


def _numbers(shift: RewardShift | None) -> list[float] | None:
    """Returns the shift's three numbers; JSON keeps a float64 to its last bit."""
    return None if shift is None else [float(number) for number in shift]


def _flush(path: Path) -> None:
    """Waits until a file or a folder's list of names is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _moments(state: TrainingState, *, kept: bool) -> dict[str, Tensor]:
    known = state.optimizer.state
    return {
        f"{name}.{moment}": whole(known[parameter][moment], kept=kept)
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
