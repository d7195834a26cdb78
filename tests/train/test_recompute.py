"""What is made again in the backward pass: the same bits, and none of it kept."""

import pytest
import torch
from tests.train.material import Made
from torch import Tensor, nn
from torch.nn import functional
from transformers.models.gemma3.modeling_gemma3 import Gemma3RMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from spavl.train.recompute import cheap_recomputed

TOKENS, WIDTH, WIDER = 5, 4, 8


class Layer(nn.Module):
    """A norm and a gated MLP behind it, which is where a language model keeps most."""

    def __init__(self, norm: type[nn.Module], activation: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.norm = norm(WIDTH)
        self.gate, self.up = nn.Linear(WIDTH, WIDER, bias=False), nn.Linear(WIDTH, WIDER, bias=False)
        self.down = nn.Linear(WIDER, WIDTH, bias=False)
        self.activation = getattr(functional, activation)

    def forward(self, states: Tensor) -> Tensor:
        normed = self.norm(states)
        return states + self.down(self.activation(self.gate(normed)) * self.up(normed))


def run(layer: Layer, again: bool) -> tuple[Tensor, list[Tensor]]:
    torch.manual_seed(1)
    states = torch.randn(1, TOKENS, WIDTH, dtype=next(layer.parameters()).dtype, requires_grad=True)
    if again:
        with cheap_recomputed():
            result = layer(states)
    else:
        result = layer(states)
    return result, list(torch.autograd.grad(result.square().sum(), [states, *layer.parameters()]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize(("norm", "activation"), [(LlamaRMSNorm, "silu"), (Gemma3RMSNorm, "gelu")])
def test_no_bit_changes(norm: type[nn.Module], activation: str, dtype: torch.dtype) -> None:
    layer = Layer(norm, activation).to(dtype)
    plain, gradients = run(layer, again=False)
    result, others = run(layer, again=True)
    assert torch.equal(result, plain)
    assert all(torch.equal(one, other) for one, other in zip(gradients, others, strict=True))


def test_what_is_kept_of_a_layer_by_hand() -> None:
    """Float32: 5 roots, gate and up of 5·8 each, and the result of 5·4, at 4 B; what enters is there already.

    The plain layer also keeps two more of 5·4, normed and weighted, and two of 5·8, the activated gate and the product.
    """
    layer, states = Layer(LlamaRMSNorm, "silu"), torch.ones(1, TOKENS, WIDTH, requires_grad=True)
    with Made() as again, cheap_recomputed():
        lean = layer(states)
    assert again.alive() == 4 * (5 + 2 * 40 + 20)
    with Made() as once:
        plain = layer(states)
    assert once.alive() == 4 * (5 + 4 * 40 + 3 * 20)
    assert torch.equal(lean, plain)


def test_a_result_that_was_changed_is_kept_as_it_is() -> None:
    """d/dw of ((2x + 1)·w) is 2x + 1: 3, 5 and 7, and not the 2x that the recipe would make."""
    x, w = torch.tensor([1.0, 2.0, 3.0], requires_grad=True), torch.ones(3, requires_grad=True)
    with cheap_recomputed():
        changed = torch.mul(x, torch.full((3,), 2.0)).add_(1)
        product = changed @ w
    product.backward()
    assert w.grad is not None and w.grad.tolist() == [3, 5, 7]
