"""Keeps a training's state as one safetensors file: the trained tensors, the optimiser's moments, how far it came.

The optimiser's groups and rates are not kept: training sets them anew. It does not choose which states to keep.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import Optimizer

MOMENTS = "optimiser."


class Progress(NamedTuple):
    """How far a training has come."""

    elapsed_s: float
    step: int
    best: float
    """The best held-out score so far."""


class State(NamedTuple):
    """What a file of state holds."""

    tensors: dict[str, Tensor]
    moments: dict[str, Tensor]
    """`index.name` of the optimiser's state -> tensor."""
    progress: Progress

    def restore(self, optimiser: Optimizer) -> None:
        """Gives the moments back to an optimiser of the same parameters in the same order."""
        slots: dict[int, dict[str, Tensor]] = {}
        for name, tensor in self.moments.items():
            index, moment = name.split(".")
            slots.setdefault(int(index), {})[moment] = tensor
        optimiser.load_state_dict({"state": slots, "param_groups": optimiser.state_dict()["param_groups"]})


def write_state(path: Path, tensors: Mapping[str, Tensor], optimiser: Optimizer, progress: Progress) -> None:
    """Writes a state; the file is the old one or the new one, never half of one."""
    moments = {
        f"{MOMENTS}{index}.{name}": tensor
        for index, slot in optimiser.state_dict()["state"].items()
        for name, tensor in slot.items()
    }
    whole = {name: tensor.contiguous() for name, tensor in {**tensors, **moments}.items()}
    partial = path.with_name(f"{path.name}.partial")
    save_file(whole, partial, metadata={"progress": json.dumps(progress)})
    partial.rename(path)


def read_state(path: Path) -> State:
    """Reads a state."""
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping
        progress = Progress(*json.loads(file.metadata()["progress"]))
    moments = {name.removeprefix(MOMENTS): tensors.pop(name) for name in list(tensors) if name.startswith(MOMENTS)}
    return State(tensors, moments, progress)
