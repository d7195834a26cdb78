"""What is made again in the backward pass: the same bits, and none of it kept."""

from collections.abc import Callable
from contextlib import nullcontext

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


def gradients(function: Callable[[Tensor, Tensor], Tensor], again: bool) -> list[Tensor]:
    """Returns the gradients of a function's sum, at two matrices of 3·3, with recipes or without."""
    torch.manual_seed(0)
    x, w = (torch.randn(3, 3, requires_grad=True) for _ in range(2))
    with cheap_recomputed() if again else nullcontext():
        result = function(x, w)
    return list(torch.autograd.grad(result.sum(), (x, w)))


def changed_after_its_use(x: Tensor, w: Tensor) -> Tensor:
    h = x.clone()
    product = (h * 2) @ w
    return product + h.add_(1)


def a_part_changed_after_its_use(x: Tensor, w: Tensor) -> Tensor:
    h = x.clone()
    doubled = h * 2
    h[1:] = 0.0
    return doubled @ w + h


def changed_between_two_uses(x: Tensor, w: Tensor) -> Tensor:
    h = x.clone()
    doubled = h * 2
    first = doubled @ w
    h += 1
    return first + (doubled * w) @ h.detach().clone()


def changed_by_an_activation(x: Tensor, w: Tensor) -> Tensor:
    h = x.clone()
    product = torch.mul(torch.full((3, 3), 2.0), other=h) @ w
    return product + functional.relu(h, inplace=True)


LEGAL = (changed_after_its_use, a_part_changed_after_its_use, changed_between_two_uses, changed_by_an_activation)


@pytest.mark.parametrize("function", LEGAL)
def test_what_autograd_allows_to_change_in_place_changes_no_gradient(
    function: Callable[[Tensor, Tensor], Tensor],
) -> None:
    plain, others = gradients(function, again=False), gradients(function, again=True)
    assert all(torch.equal(one, other) for one, other in zip(plain, others, strict=True))


def test_a_result_that_is_kept_because_its_input_changed_serves_every_pass() -> None:
    """`like` changes first, so `doubled` is made for `wide`; then `h` does, and neither can be made again."""
    x, w = (torch.ones(2, 2, requires_grad=True) for _ in range(2))
    h, like = x.clone(), w.double()
    with cheap_recomputed():
        doubled = h * 2
        wide = doubled.type_as(like)
        result = (doubled @ w).sum() + (wide @ w.double()).sum()
        like.add_(1)
        h.add_(1)
    passes = [torch.autograd.grad(result, w, retain_graph=True)[0].tolist() for _ in range(2)]
    assert passes == [[[8.0, 8.0], [8.0, 8.0]]] * 2


def kept_and_changed(x: Tensor, w: Tensor) -> Tensor:
    h = x.clone()
    product = h @ w
    h.add_(1)
    return product


def read_by_a_recipe_and_changed(x: Tensor, w: Tensor) -> Tensor:
    h = x.clone()
    product = (h * w) @ w
    h.add_(1)
    return product


@pytest.mark.parametrize("function", [kept_and_changed, read_by_a_recipe_and_changed])
def test_what_autograd_forbids_to_change_in_place_is_an_error(function: Callable[[Tensor, Tensor], Tensor]) -> None:
    for again in (False, True):
        with pytest.raises(RuntimeError, match=r"in place|inplace"):
            gradients(function, again)


def test_a_change_that_no_operation_shows_is_an_error() -> None:
    """It comes after the block, where nobody looks; plain autograd, which keeps the product, would allow it."""
    x, w = (torch.ones(2, 2, requires_grad=True) for _ in range(2))
    h = x.clone()
    with cheap_recomputed():
        product = (h * 2) @ w
    h.detach().zero_()
    with pytest.raises(RuntimeError, match=r"shape \(2, 2\) .*changed in place .* must change a copy"):
        product.sum().backward()


def test_a_transposed_result_is_not_taken_for_the_result() -> None:
    """The gradient at a row of w is the sum of a column of (2x)ᵀ: 2 + 4 = 6 and 6 + 8 = 14; of 2x, 8 and 12."""
    x, w = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True), torch.ones(2, 2, requires_grad=True)
    with cheap_recomputed():
        product = (x * 2).t() @ w
    product.sum().backward()
    assert w.grad is not None and w.grad.tolist() == [[6, 6], [14, 14]]


def test_what_is_made_again_is_let_go_after_its_last_use() -> None:
    """A graph that is kept for a second pass holds after the first what it held before it, and gives the same."""
    layer, states = Layer(LlamaRMSNorm, "silu"), torch.ones(1, TOKENS, WIDTH, requires_grad=True)
    with Made() as made:
        with cheap_recomputed():
            result = layer(states)
        total = result.sum()
        before = made.alive()
        first = torch.autograd.grad(total, states, retain_graph=True)[0].tolist()
        assert made.alive() == before
        assert torch.autograd.grad(total, states)[0].tolist() == first
