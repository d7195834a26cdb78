"""The state of the embedded model's training."""

from pathlib import Path

import torch
from recipes.mini_vlm.state import Progress, read_state, write_state
from torch import Tensor, nn


def take_steps(layer: nn.Linear, optimiser: torch.optim.Optimizer, count: int) -> None:
    for number in range(count):
        loss = layer(torch.full((1, 3), 1.0 + number)).square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def training() -> tuple[nn.Linear, torch.optim.Optimizer]:
    torch.manual_seed(0)
    layer = nn.Linear(3, 2)
    groups = [{"params": [layer.weight], "weight_decay": 0.02}, {"params": [layer.bias]}]
    return layer, torch.optim.AdamW(groups, lr=0.1, betas=(0.9, 0.98))


def tensors(layer: nn.Linear) -> dict[str, Tensor]:
    return {name: parameter.detach() for name, parameter in layer.named_parameters()}


def test_a_resumed_training_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    """Three steps and two more are five, bit for bit, moments included."""
    whole, optimiser = training()
    take_steps(whole, optimiser, 3)
    write_state(tmp_path / "last.safetensors", tensors(whole), optimiser, Progress(12.5, 3, -1.0))
    take_steps(whole, optimiser, 2)

    state = read_state(tmp_path / "last.safetensors")
    resumed, fresh = training()
    resumed.load_state_dict(state.tensors)
    state.restore(fresh)
    take_steps(resumed, fresh, 2)
    assert torch.equal(resumed.weight, whole.weight)
    assert torch.equal(resumed.bias, whole.bias)
    assert state.progress == Progress(elapsed_s=12.5, step=3, best=-1.0)
    assert [path.name for path in tmp_path.iterdir()] == ["last.safetensors"]
