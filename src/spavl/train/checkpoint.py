"""Checkpoints: what training needs to go on exactly where it stopped.

A checkpoint is a folder `step-N` that appears whole or not at all: trained weights and optimiser as safetensors under
live parameter names, `state.json`, and `SHA256SUMS` with the digests of these files. Loading is strict: a changed bit
or a missing, unknown or misshapen tensor is an error. There is no random state in it, because every step seeds its own
(`loop.py`), and no learning rate: it follows from the step.
"""

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import Parameter
from torch.optim import AdamW

from spavl.config_file import describe_errors
from spavl.errors import RunError
from spavl.store.files import new_folder, write_atomically
from spavl.store.manifest import hash_file
from spavl.train.losses import RewardShift
from spavl.train.sharding import cut_like, whole
from spavl.train.stored import write_tensors

KEPT = 2
"""Checkpoints that are kept: the newest, and one to go back to should it be damaged."""
MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""AdamW's state of one parameter."""
FILES = ("trained.safetensors", "optimizer.safetensors", "state.json")
"""What a checkpoint is made of."""
SUMS = "SHA256SUMS"
"""Their digests, as `sha256sum -c` reads them."""
WAYS_OUT = "Use another run name, or start again with --restart-from train."


@dataclass
class TrainingState:
    """What changes while training."""

    parameters: dict[str, Parameter]
    """Live name -> trainable parameter, in the optimiser's order."""
    optimizer: AdamW
    shift: RewardShift | None = None
    """BCO's running mean of rewards, where a loss has one."""
    others: dict[str, Any] = field(default_factory=dict)
    """What else goes on, as JSON can hold it: reinforcement learning's controllers."""


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
        write_tensors(folder / "trained.safetensors", trained)
        write_tensors(folder / "optimizer.safetensors", moments)
        numbers = {"step": step, "reward_shift": _numbers(state.shift), "others": state.others}
        write_atomically(folder / "state.json", json.dumps(numbers).encode())
        write_atomically(folder / SUMS, b"".join(_sum(folder / name) for name in FILES))
    for old in checkpoint_steps(root)[:-KEPT]:
        shutil.rmtree(root / f"step-{old}")
    return target


def load_checkpoint(folder: Path, state: TrainingState) -> int:
    """Puts a checkpoint's tensors into the state and returns its step.

    Raises:
        RunError: A file is damaged, or does not hold exactly the tensors of this training.
    """
    trained, moments, numbers = _read(folder)
    _check_tensors(folder / "trained.safetensors", trained, state.parameters)
    _check_tensors(folder / "optimizer.safetensors", moments, _empty_moments(state.parameters))
    if (state.shift is None) != (numbers.reward_shift is None):
        has = "no" if numbers.reward_shift is None else "a"
        raise RunError(f"{folder / 'state.json'} belongs to another training: it has {has} reward shift. {WAYS_OUT}")
    with torch.no_grad():
        for name, parameter in state.parameters.items():
            parameter.copy_(cut_like(trained[name], parameter))
    if state.shift is not None and numbers.reward_shift is not None:
        state.shift = RewardShift(*(torch.tensor(number, dtype=torch.float64) for number in numbers.reward_shift))
    state.others = numbers.others
    slots = {
        index: {moment: cut_like(moments[f"{name}.{moment}"], parameter) for moment in MOMENTS}
        for index, (name, parameter) in enumerate(state.parameters.items())
    }
    state.optimizer.load_state_dict({"state": slots, "param_groups": state.optimizer.state_dict()["param_groups"]})
    return numbers.step


def checkpoint_steps(root: Path) -> list[int]:
    """Returns the steps that have a checkpoint, ascending; a file or a folder of another name is left alone."""
    names = (re.fullmatch(r"step-([1-9]\d*)", path.name) for path in root.glob("step-*") if path.is_dir())
    return sorted(int(name[1]) for name in names if name)


class _Numbers(BaseModel):
    """What `state.json` holds."""

    step: int
    reward_shift: tuple[float, float, float] | None
    others: dict[str, Any] = {}


def _read(folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor], _Numbers]:
    """Returns the trained weights, the optimiser's moments and the numbers, as they were written to the last bit."""
    try:
        sums = (folder / SUMS).read_bytes()
        changed = [name for name in FILES if _sum(folder / name) not in sums]
        if changed:
            raise ValueError(f"{changed[0]} is not what {SUMS} says")
        trained, moments = (load_file(folder / name) for name in FILES[:2])
        return trained, moments, _Numbers.model_validate(json.loads((folder / "state.json").read_bytes()))
    except (OSError, SafetensorError, ValueError) as error:
        said = describe_errors(error) if isinstance(error, ValidationError) else " ".join(str(error).split())
        raise RunError(
            f"The checkpoint {folder} is damaged ({said}). Remove that folder, and training goes on from the "
            "checkpoint before it, or from the beginning where there is none."
        ) from error


def _sum(path: Path) -> bytes:
    return f"{hash_file(path)}  {path.name}\n".encode()


def _numbers(shift: RewardShift | None) -> list[float] | None:
    """Returns the shift's three numbers; JSON keeps a float64 to its last bit."""
    return None if shift is None else [float(number) for number in shift]


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
            f"for example {example}. {WAYS_OUT}"
        )
    for name, tensor in wanted.items():
        if (found[name].shape, found[name].dtype) != (tensor.shape, tensor.dtype):
            raise RunError(
                f"{path} belongs to another training: {name} is {found[name].dtype} {tuple(found[name].shape)}, "
                f"and should be {tensor.dtype} {tuple(tensor.shape)}. {WAYS_OUT}"
            )
