"""Sharded training (FSDP2): every process keeps a part of each weight, its gradient and its optimiser state.

A layer's weights are gathered when it runs. `zero3` lets go of them after its forward and gathers them again for its
backward; `zero2` keeps them in between, which costs memory and saves a third of the traffic (ZeRO, Rajbhandari et al.
2020, arXiv 1910.02054). Frozen towers and projectors are small and needed at any time: each process keeps them whole.
Precision is what it is without sharding: nothing is rounded on the way.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn import Parameter

from spavl.errors import RunError
from spavl.train.families import Family
from spavl.train.parallel import Processes
from spavl.train.policy import Policy

T = TypeVar("T")


class Root(nn.Module):
    """A model as one module, whose call is any pass through it: FSDP gathers weights around calls.

    Args:
        model: The model.
        layers: Those of its modules that are gathered one by one.
    """

    def __init__(self, model: nn.Module, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.model = model
        self._layers = tuple(layers)

    def forward(self, run: Callable[[], T]) -> T:
        """Returns what the pass returns."""
        found = run()
        if not torch.is_grad_enabled():
            # no backward will let go of the weights, and what is switched meanwhile (PEFT: requires_grad) would be
            # switched on the gathered ones alone: from the second step on the adapters had no gradient
            for layer in self._layers:
                if isinstance(layer, FSDPModule):
                    layer.reshard()
        return found


def shard(
    policy: Policy, family: Family, processes: Processes, device: str, *, keeps_gathered: bool
) -> tuple[Policy, Root]:
    """Cuts the policy's weights, gradients and optimiser states up among the processes.

    Args:
        policy: A whole model in the main memory.
        family: What is known of its kind.
        processes: Who shares it.
        device: Where this process's part goes.
        keeps_gathered: Whether a layer stays gathered between its forward and its backward.

    Returns:
        The policy with its parameters as they are now, and the module that every pass has to go through.
    """
    model = policy.model
    mesh = init_device_mesh(torch.device(device).type, (processes.number,))
    left_whole = {
        parameter
        for name, parameter in model.named_parameters()
        if family.part(name) in ("vision", "projector") and not parameter.requires_grad
    }
    for parameter in left_whole:
        parameter.data = parameter.data.to(device)
    layers = tuple(family.language(model).get_submodule("layers").children())
    root = Root(model, layers)
    for layer in layers:
        fully_shard(layer, mesh=mesh, reshard_after_forward=not keeps_gathered)
    fully_shard(root, mesh=mesh, reshard_after_forward=False, ignored_params=left_whole)
    for module in root.modules():
        if isinstance(module, FSDPModule):  # gradients are sums: the loss is divided by the whole batch already
            module.set_force_sum_reduction_for_comms(True)
            module.set_gradient_divide_factor(1.0)
    live = dict(model.named_parameters())
    parts = {part: {name: live[name] for name in members} for part, members in policy.parts.items()}
    return replace(policy, parts=parts, untouched={name: live[name]._version for name in policy.untouched}), root


def whole(tensor: Tensor, *, kept: bool) -> Tensor:
    """Returns a tensor that may be cut up as a whole one; a meeting if it is.

    Args:
        tensor: Of any kind.
        kept: Whether this process wants it; where not, what is returned is empty, so that it takes no memory.
    """
    if not isinstance(tensor, DTensor):
        return tensor.detach().contiguous()
    gathered = _gathered(tensor)
    return gathered.cpu() if kept else gathered.new_empty(0)


def cut_like(tensor: Tensor, parameter: Parameter) -> Tensor:
    """Returns a whole tensor cut as a parameter of the same shape is; every process takes its part, none sends one."""
    if not isinstance(parameter, DTensor) or tensor.shape != parameter.shape:
        return tensor
    return distribute_tensor(tensor, parameter.device_mesh, parameter.placements, src_data_rank=None)


def clip_gradients(parameters: Mapping[str, Parameter], max_norm: float) -> float:
    """Scales the gradients down to a norm over all of them, and returns the norm they had; a meeting if cut up.

    Raises:
        RunError: A parameter has none.
    """
    gradients = {name: parameter.grad for name, parameter in parameters.items() if parameter.grad is not None}
    if len(gradients) < len(parameters):
        lacking = sorted(parameters.keys() - gradients.keys())
        raise RunError(f"{len(lacking)} trained weights got no gradient, for example {lacking[0]}. This is a bug.")
    norm = torch.nn.utils.get_total_norm(gradients.values())
    if isinstance(norm, DTensor):
        norm = _gathered(norm)
    torch.nn.utils.clip_grads_with_norm_(parameters.values(), max_norm, norm)
    return float(norm)


def _gathered(tensor: DTensor) -> Tensor:
    full: Tensor = tensor.full_tensor()
    return full.detach()
