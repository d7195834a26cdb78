"""The head kernel against the plain way: all logits, log-softmax, gather."""

import math

import pytest
import torch
from torch import Tensor

from spavl.train import head
from spavl.train.head import target_logprobs


def plain(states: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    return (states @ weight.T).log_softmax(dim=1).gather(1, targets[:, None]).squeeze(1)


@pytest.fixture(params=[7, 1000], ids=["chunk_by_chunk", "in_one_chunk"])
def small_chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "CHUNK_ELEMENTS", request.param)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("trained_head", [False, True])
def test_values_and_gradients_equal_those_of_the_plain_way(trained_head: bool) -> None:
    torch.manual_seed(0)
    states = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 4, dtype=torch.float64, requires_grad=trained_head)
    targets, upstream = torch.tensor([0, 2, 1, 1, 0]), torch.randn(5, dtype=torch.float64)
    wanted = [states, weight] if trained_head else [states]
    ours, theirs = target_logprobs(states, weight, targets), plain(states, weight, targets)
    assert (ours - theirs).abs().max() < 1e-14
    for one, other in zip(
        torch.autograd.grad(ours, wanted, upstream), torch.autograd.grad(theirs, wanted, upstream), strict=True
    ):
        assert (one - other).abs().max() < 1e-14


def test_a_value_worked_by_hand() -> None:
    """State (1, 0), rows (ln 3, 0) and (0, 5): logits ln 3 and 0, so p = 3/4 and 1/4.

    The gradient of log p_1 by the state is w_1 - (3/4 w_0 + 1/4 w_1) = (-3/4 ln 3, 3/4 * 5).
    """
    states = torch.tensor([[1.0, 0.0]], requires_grad=True)
    weight = torch.tensor([[math.log(3), 0.0], [0.0, 5.0]])
    logprob = target_logprobs(states, weight, torch.tensor([1]))
    assert logprob.item() == pytest.approx(math.log(1 / 4))
    (gradient,) = torch.autograd.grad(logprob.sum(), states)
    assert gradient[0].tolist() == pytest.approx([-0.75 * math.log(3), 3.75])


def test_bfloat16_states_are_summed_in_float32() -> None:
    """4,096 equal logits: log p = -ln 4096 = -8.3178; a sum in bfloat16 would stop growing at 256."""
    states = torch.zeros(1, 8, dtype=torch.bfloat16)
    logprob = target_logprobs(states, torch.ones(4096, 8, dtype=torch.bfloat16), torch.tensor([3]))
    assert logprob.dtype == torch.float32
    assert logprob.item() == pytest.approx(-math.log(4096), abs=1e-4)


def test_a_head_that_is_trained_gets_a_gradient_in_its_own_type() -> None:
    weight = torch.randn(6, 4, dtype=torch.bfloat16, requires_grad=True)
    target_logprobs(torch.randn(2, 4, dtype=torch.bfloat16), weight, torch.tensor([1, 5])).sum().backward()
    assert weight.grad is not None and weight.grad.dtype == torch.bfloat16 and weight.grad.count_nonzero() > 0
