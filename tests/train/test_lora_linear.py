"""A linear layer joined with its adapter: by hand, and beside PEFT's own forward."""

from collections.abc import Callable

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora.layer import Linear as LoraLinear
from torch import Tensor, nn

from spavl.train.lora_linear import _joined, join_adapters


class OneLayer(nn.Module):
    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 5, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.linear(x)
        return output


def adapted(
    *, dropout: float = 0.0, bias: bool = False, dtype: torch.dtype = torch.float64
) -> tuple[PeftModel, LoraLinear]:
    torch.manual_seed(0)
    model = OneLayer(bias).to(dtype)
    config = LoraConfig(r=2, lora_alpha=3, lora_dropout=dropout, target_modules=["linear"], init_lora_weights=False)
    peft = get_peft_model(model, config)
    join_adapters(peft)
    return peft, peft.base_model.model.linear


def outcome(layer: LoraLinear, forward: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """Returns what comes out, and the gradients of x, A and B."""
    torch.manual_seed(1)
    x = torch.randn(2, 7, 6, dtype=layer.base_layer.weight.dtype).requires_grad_()
    weights = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    output = forward(x)
    slope = torch.linspace(-1, 1, output.numel()).view(output.shape).to(output.dtype)
    return [output.detach(), *torch.autograd.grad(output, (x, *weights), slope)]


def test_by_hand() -> None:
    """X = (1, 2), W = (3, 4), A = (1, -1), B = 2, s = 1/2: y = 3 + 8 + 1/2·(1 - 2)·2 = 10.

    With dL/dy = 1: ∂x = W + s·B·A = (3 + 1, 4 - 1); ∂A = s·B·x = (1, 2); ∂B = s·A·x = -1/2.
    """
    layer = get_peft_model(
        nn.Sequential(nn.Linear(2, 1, bias=False)), LoraConfig(r=2, lora_alpha=1, target_modules=["0"])
    )
    join_adapters(layer)
    linear = layer.base_model.model[0]
    linear.base_layer.weight.data = torch.tensor([[3.0, 4.0]])
    a, b = linear.lora_A["default"].weight, linear.lora_B["default"].weight
    a.data, b.data = torch.tensor([[1.0, -1.0], [0.0, 0.0]]), torch.tensor([[2.0, 0.0]])
    x = torch.tensor([[1.0, 2.0]], requires_grad=True)
    y = linear(x)
    y.backward()
    assert y.item() == 10 and x.grad is not None and x.grad.tolist() == [[4, 3]]
    assert a.grad[0].tolist() == [1, 2] and b.grad[0, 0].item() == -0.5


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_it_is_what_peft_computes(dropout: float, bias: bool) -> None:
    """In float64; dropout draws the same mask from the same seed."""
    _, layer = adapted(dropout=dropout, bias=bias)
    layer.train()
    joined = outcome(layer, layer)
    for ours, theirs in zip(joined, outcome(layer, lambda x: LoraLinear.forward(layer, x)), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def test_dropout_drops_in_training_mode_alone() -> None:
    _, layer = adapted(dropout=0.4)
    training = outcome(layer.train(), layer)[0]
    assert not torch.allclose(training, outcome(layer.eval(), layer)[0])


def test_in_bfloat16_the_formula_is_right_to_its_eight_bits() -> None:
    """A sum of a few products agrees to some 3 %; CUDA computes so under autocast."""
    _, layer = adapted(dtype=torch.float32)
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight

    def rounded(x: Tensor) -> Tensor:
        narrow = (one.bfloat16() for one in (x, layer.base_layer.weight, a, b))
        x, weight, *adapter = narrow
        return _joined(x, weight, None, *adapter, None, layer.scaling["default"], 1.0)

    found = outcome(layer, rounded)
    assert found[0].dtype == torch.bfloat16 and {one.dtype for one in found[1:]} == {torch.float32}
    for ours, right in zip(found, outcome(layer, layer), strict=True):
        assert torch.allclose(ours.float(), right, rtol=0.03, atol=0.03 * float(right.abs().max()))


def test_under_autocast_on_the_cpu_it_is_pefts_own_forward() -> None:
    _, layer = adapted(dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, theirs = outcome(layer, layer), outcome(layer, lambda x: LoraLinear.forward(layer, x))
    assert ours[0].dtype == torch.bfloat16
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_an_adapter_that_is_off_adds_nothing() -> None:
    peft, layer = adapted()
    x = torch.ones(1, 6, dtype=torch.float64)
    with peft.disable_adapter():
        assert torch.equal(layer(x), layer.base_layer(x))
    assert not torch.allclose(layer(x), layer.base_layer(x))


def test_two_adapters_at_once_add_up() -> None:
    peft, layer = adapted()
    peft.add_adapter("second", LoraConfig(r=2, target_modules=["linear"], init_lora_weights=False))
    x = torch.ones(1, 6, dtype=torch.float64)
    added = layer(x) - layer.base_layer(x)
    layer.set_adapter(["default", "second"])
    both = layer(x) - layer.base_layer(x)
    layer.set_adapter(["second"])
    assert torch.allclose(both, added + layer(x) - layer.base_layer(x))


def test_a_merged_adapter_is_not_added_again() -> None:
    _, layer = adapted()
    x = torch.ones(1, 6, dtype=torch.float64)
    before = layer(x)
    layer.merge()
    assert torch.allclose(layer(x), before, rtol=1e-12)


def test_what_comes_out_is_kept_once_and_what_goes_in_too() -> None:
    """X (2, 7, 6), W (5, 6), A (2, 6), B (5, 2) and x·Aᵀ (14, 2) are all that waits for the backward pass."""
    _, layer = adapted()
    kept: list[tuple[int, ...]] = []
    x = torch.ones(2, 7, 6, dtype=torch.float64, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda one: kept.append(tuple(one.shape)) or one, lambda one: one):
        layer(x)
    assert sorted(kept) == sorted([(2, 7, 6), (5, 6), (2, 6), (5, 2), (14, 2)])
