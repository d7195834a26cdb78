"""Order, schedule and the step itself."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.train.material import make_pairs, settings
from torch.optim import AdamW

from spavl.errors import RunError
from spavl.models.loading import load_vlm
from spavl.train.checkpoint import TrainingState
from spavl.train.dpo import TrainingPairs, accumulate_gradients, row_tokens
from spavl.train.logprobs import Features, pair_logprobs
from spavl.train.loop import batch_places, learning_rate, run_loop, steps_per_epoch
from spavl.train.losses import PairLogprobs
from spavl.train.policy import Policy, add_adapters
from spavl.train.render import Renderer


@pytest.fixture
def pairs(policy: Policy, renderer: Renderer, features: Features, picture: Callable[[str], Path]) -> TrainingPairs:
    rows = renderer.rows(make_pairs(10), picture)
    with policy.as_reference() as model:
        return TrainingPairs(rows, pair_logprobs(model, rows, features), features)


def test_learning_rate_warms_up_and_follows_half_a_cosine() -> None:
    """Peak 1, warm-up 2 of 6 steps: 1/2, 1, then ½(1+cos(π·k/4)) for k = 0..3: 1, 0.853553, 0.5, 0.146447."""
    config = settings(learning_rate=1.0, warmup_steps=2)
    rates = [learning_rate(config, step, total=6) for step in range(1, 7)]
    assert rates == pytest.approx([0.5, 1, 1, 0.853553, 0.5, 0.146447], abs=1e-6)


def test_a_warm_up_longer_than_the_training_is_no_error() -> None:
    config = settings(learning_rate=1.0, warmup_steps=10)
    assert [learning_rate(config, step, total=2) for step in (1, 2)] == pytest.approx([0.1, 0.2])


def test_every_epoch_takes_every_pair_once_in_an_order_of_its_own() -> None:
    """10 pairs in batches of 4: three steps of 4, 4 and 2."""
    config = settings(batch_size=4)
    assert steps_per_epoch(config, 10) == 3
    epochs = [[batch_places(config, 10, 7, step) for step in steps] for steps in ((1, 2, 3), (4, 5, 6))]
    assert [[len(batch) for batch in epoch] for epoch in epochs] == [[4, 4, 2], [4, 4, 2]]
    flat = [[place for batch in epoch for place in batch] for epoch in epochs]
    assert all(sorted(order) == list(range(10)) for order in flat)
    assert flat[0] != flat[1]
    assert flat[0] != [place for step in (1, 2, 3) for place in batch_places(config, 10, 8, step)]


def test_loss_of_the_first_batch_is_log_2(policy: Policy, pairs: TrainingPairs) -> None:
    """Adapters begin at zero, dropout of a zero is zero: the policy is the reference."""
    metrics = accumulate_gradients(policy, pairs, settings())
    assert metrics.loss == pytest.approx(math.log(2), abs=1e-5)
    assert metrics.reward_margin == pytest.approx(0, abs=1e-4)
    assert metrics.tokens == sum(row_tokens(row) for row in pairs.rows)


def test_the_sft_weight_adds_the_chosen_answers_loss(policy: Policy, pairs: TrainingPairs) -> None:
    """Before any update the policy is the reference, so the sum is log 2 + 0.5 · mean(-log π_ref(y_w|x) / |y_w|)."""
    own = [-float(value) / len(row.chosen) for value, row in zip(pairs.reference.chosen, pairs.rows, strict=True)]
    metrics = accumulate_gradients(policy, pairs, settings(sft_weight=0.5))
    assert metrics.loss == pytest.approx(math.log(2) + 0.5 * sum(own) / len(own), abs=1e-4)


def test_gradients_do_not_depend_on_how_a_batch_is_cut(tiny: Path, pairs: TrainingPairs) -> None:
    """Ten pairs at once, and in groups of 3, 3, 3 and 1: the mean is over ten pairs either way."""

    def gradients(size: int) -> list[torch.Tensor]:
        config = settings(micro_batch_size=size, lora=settings().lora.model_copy(update={"dropout": 0.0}))
        policy = add_adapters(load_vlm(tiny).model, config.lora, seed=0)
        accumulate_gradients(policy, pairs, config)
        return [parameter.grad for parameter in policy.trainable().values() if parameter.grad is not None]

    whole, cut = gradients(10), gradients(3)
    assert len(whole) == len(cut) == 28
    assert any(gradient.abs().max() > 0 for gradient in whole)
    assert all(torch.allclose(one, other, rtol=1e-3, atol=1e-6) for one, other in zip(whole, cut, strict=True))


def test_a_loss_that_is_not_finite_stops_and_keeps_the_batch(
    policy: Policy, pairs: TrainingPairs, tmp_path: Path
) -> None:
    parameters = policy.trainable()
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    state = TrainingState(parameters, AdamW(parameters.values()))
    broken = pairs._replace(reference=PairLogprobs(pairs.reference.chosen * torch.nan, pairs.reference.rejected))
    with pytest.raises(RunError, match=r"Step 1: the loss is nan.*failed_batch\.json"):
        run_loop(policy, state, broken, settings(), tmp_path, seed=0)
    kept = json.loads((tmp_path / "failed_batch.json").read_bytes())
    assert kept["step"] == 1 and len(kept["rows"]) == 4
    assert all(torch.equal(before[name], parameter) for name, parameter in parameters.items())
