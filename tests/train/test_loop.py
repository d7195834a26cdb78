"""Order, schedule and the step itself."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.train.material import make_pairs, open_engine, settings
from torch.optim import AdamW

from spavl.errors import RunError
from spavl.loss_config import BcoPairLossConfig, MdpoLossConfig, SftLossConfig, SigmoidLossConfig, SimpoLossConfig
from spavl.models.loading import Vlm, load_vlm
from spavl.train.batch_metrics import BatchMetrics
from spavl.train.checkpoint import TrainingState
from spavl.train.corrupted import Shown, corrupted_twins
from spavl.train.dpo import TrainingPairs, accumulate_gradients, preference_task
from spavl.train.engine import Engine
from spavl.train.families import family_of
from spavl.train.loop import Order, run_loop, schedule, steps_per_epoch
from spavl.train.losses import RewardShift
from spavl.train.policy import Policy, open_policy
from spavl.train.reference_store import ReferenceStore
from spavl.train.render import Renderer
from spavl.train.safety import safety_flags
from spavl.train.tree import row_tokens

TEXTS = ("question", "chosen", "rejected")


@pytest.fixture
def pairs(engine: Engine, renderer: Renderer, picture: Callable[[str], Path], tmp_path: Path) -> TrainingPairs:
    """Ten pairs about three pictures, with what the model says before there are adapters in it."""
    records = make_pairs(10)
    rows = renderer.rows(records, picture)
    reference = ReferenceStore(tmp_path, "f", rows)
    reference.fill(engine.pack(rows, range(10)), engine.run)
    return TrainingPairs(records, rows, safety_flags(records), reference)


@pytest.fixture
def adapted(pairs: TrainingPairs, vlm: Vlm) -> Policy:
    """Adapters, put in when the reference is known."""
    assert pairs.reference is not None
    return open_policy(vlm, family_of(vlm.model), settings(), seed=0)


def step(engine: Engine, pairs: TrainingPairs, **changes: object) -> BatchMetrics:
    return accumulate_gradients(engine, pairs, range(len(pairs.rows)), settings(**changes), None)[0]


def test_learning_rate_warms_up_and_follows_half_a_cosine() -> None:
    """Warm-up 2 of 6 steps: 1/2, 1, then ½(1+cos(π·k/4)) for k = 0..3: 1, 0.853553, 0.5, 0.146447."""
    config = settings(warmup_steps=2)
    factors = [schedule(config, step, total=6) for step in range(1, 7)]
    assert factors == pytest.approx([0.5, 1, 1, 0.853553, 0.5, 0.146447], abs=1e-6)


def test_a_warm_up_longer_than_the_training_is_no_error() -> None:
    config = settings(warmup_steps=10)
    assert [schedule(config, step, total=2) for step in (1, 2)] == pytest.approx([0.1, 0.2])


def test_every_epoch_takes_every_pair_once_in_an_order_of_its_own(pairs: TrainingPairs) -> None:
    """10 pairs in batches of 4: three steps of 4, 4 and 2."""
    config = settings(batch_size=4)
    assert steps_per_epoch(config, 10) == 3
    order = Order(pairs.rows, config, 7)
    epochs = [[order.places(step) for step in steps] for steps in ((1, 2, 3), (4, 5, 6))]
    assert [[len(batch) for batch in epoch] for epoch in epochs] == [[4, 4, 2], [4, 4, 2]]
    flat = [[place for batch in epoch for place in batch] for epoch in epochs]
    assert all(sorted(order) == list(range(10)) for order in flat)
    assert flat[0] != flat[1]
    assert order.places(2) == epochs[0][1]
    assert flat[0] != [place for step in (1, 2, 3) for place in Order(pairs.rows, config, 8).places(step)]


@pytest.mark.usefixtures("adapted")
def test_loss_of_the_first_batch_is_log_2(engine: Engine, pairs: TrainingPairs) -> None:
    """Adapters begin at zero, dropout of a zero is zero: the policy is the reference."""
    metrics = step(engine, pairs)
    assert metrics.loss == pytest.approx(math.log(2), abs=1e-5)
    assert metrics.reward_margin == pytest.approx(0, abs=1e-4)
    assert metrics.chosen_shift == pytest.approx(0, abs=1e-3)


@pytest.mark.usefixtures("adapted")
def test_tokens_are_counted_as_trees_and_as_rows(engine: Engine, pairs: TrainingPairs) -> None:
    """Ten prompts about three pictures begin alike up to the question's number, so few tokens are repeated."""
    metrics = step(engine, pairs)
    assert metrics.row_tokens == sum(row_tokens(row) for row in pairs.rows)
    assert metrics.tokens == sum(len(packed.tokens) for packed in engine.pack(pairs.rows, range(10)))
    assert metrics.tokens < 0.6 * metrics.row_tokens


@pytest.mark.usefixtures("adapted")
def test_margins_are_logged_by_which_answer_is_longer(engine: Engine, pairs: TrainingPairs) -> None:
    """The chosen answers have 20 to 23 tokens and the rejected 18 to 20: all ratios lie between 1 and 1.25 or above."""
    metrics = step(engine, pairs)
    assert metrics.margins_by_length["alike"] == pytest.approx(0, abs=1e-4)
    assert metrics.margins_by_length["shorter"] is None
    assert metrics.pairs_by_length["shorter"] == 0 and sum(metrics.pairs_by_length.values()) == 10


@pytest.mark.usefixtures("adapted")
def test_a_loss_beside_dpo_adds_to_it(engine: Engine, pairs: TrainingPairs) -> None:
    """Before any update the policy is the reference, so the sum is log 2 + 0.5 · mean(-log π_ref(y_w|x) / |y_w|)."""
    assert pairs.reference is not None
    chosen = pairs.reference.pair_logprobs(range(10)).chosen
    own = [-float(value) / len(row.chosen) for value, row in zip(chosen, pairs.rows, strict=True)]
    metrics = step(engine, pairs, loss=(SigmoidLossConfig(), SftLossConfig(weight=0.5)))
    assert metrics.loss == pytest.approx(math.log(2) + 0.5 * sum(own) / len(own), abs=1e-4)
    assert metrics.terms["sigmoid"] == pytest.approx(math.log(2), abs=1e-5)
    assert metrics.terms["sft"] == pytest.approx(sum(own) / 10, abs=1e-4)


@pytest.mark.usefixtures("adapted")
def test_simpo_runs_without_a_reference(engine: Engine, pairs: TrainingPairs) -> None:
    metrics = step(engine, pairs._replace(reference=None), loss=(SimpoLossConfig(),))
    assert math.isfinite(metrics.loss) and metrics.chosen_shift is None


@pytest.mark.usefixtures("adapted")
def test_bco_carries_the_mean_of_rewards_to_the_next_step(engine: Engine, pairs: TrainingPairs) -> None:
    """At the start all rewards are 0, so δ stays 0 and the loss is 2 log 2; a planted δ of 1 changes it by hand.

    -log σ(0 - 1) - log σ(-(0 - 1)) = 1.313262 + 0.313262.
    """
    config = settings(loss=(BcoPairLossConfig(),))
    metrics, shift = accumulate_gradients(engine, pairs, range(10), config, RewardShift.start())
    assert shift is not None and shift.number == 20
    assert metrics.loss == pytest.approx(2 * math.log(2), abs=1e-4)
    planted = RewardShift.start()._replace(value=torch.tensor(1.0, dtype=torch.float64))
    assert accumulate_gradients(engine, pairs, range(10), config, planted)[0].loss == pytest.approx(1.626523, abs=1e-3)


def test_what_processes_saw_of_rewards_adds_up_over_steps() -> None:
    """Step 1: 1, -3 and 4, 2 are seen, mean 4/4; step 2: 5, 1 beside them, mean 10/6 over both steps.

    A step's own mean would be 3, and that of a state that forgets what it saw before 1.
    """

    def seen(state: RewardShift, chosen: float, rejected: float) -> RewardShift:
        return state.fresh().seen(torch.tensor([chosen]), torch.tensor([rejected]))

    first = RewardShift.start()
    second = first.joined([seen(first, 1, -3), seen(first, 4, 2)]).stepped()
    assert [float(number) for number in second] == [1, 4, 4]
    third = second.joined([seen(second, 5, 1)]).stepped()
    assert [float(number) for number in third] == pytest.approx([10 / 6, 10, 6])


def test_mdpo_sets_the_picture_against_a_part_of_it(
    vlm: Vlm, renderer: Renderer, picture: Callable[[str], Path], tmp_path: Path
) -> None:
    """Before training all three terms are at margin zero: DPO, conditional and anchored, 3 log 2 together."""
    records = make_pairs(5)
    rows = renderer.rows(records, picture)
    twins = corrupted_twins(rows)
    engine = open_engine(vlm, Shown(picture, tmp_path / "corrupted", seed=0))
    reference, twins_reference = ReferenceStore(tmp_path, "f", rows), ReferenceStore(tmp_path, "g", twins)
    reference.fill(engine.pack(rows, range(5)), engine.run)
    twins_reference.fill(engine.pack(twins, range(5)), engine.run)
    config = settings(loss=(MdpoLossConfig(anchor=0.0),))
    policy = open_policy(vlm, family_of(vlm.model), config, seed=0)
    pairs = TrainingPairs(records, rows, safety_flags(records), reference, twins, twins_reference)
    metrics, _ = accumulate_gradients(engine, pairs, range(5), config, None)
    assert metrics.loss == pytest.approx(3 * math.log(2), abs=1e-4)
    assert any(one.grad is not None and one.grad.abs().max() > 0 for one in policy.trainable().values())
    assert float(reference.answers(0)[0].sum()) != pytest.approx(float(twins_reference.answers(0)[0].sum()), abs=1e-3)


def test_gradients_do_not_depend_on_how_a_batch_is_cut(
    tiny: Path, pairs: TrainingPairs, picture: Callable[[str], Path]
) -> None:
    """Ten pairs in one packed row, and in as many as a budget of 150 tokens makes: the mean is over ten pairs."""
    config = settings(lora=settings().lora.model_copy(update={"dropout": 0.0}))

    def gradients(budget: int) -> tuple[int, list[torch.Tensor]]:
        vlm = load_vlm(tiny)
        policy = open_policy(vlm, family_of(vlm.model), config, seed=0)
        engine = open_engine(vlm, picture, budget)
        accumulate_gradients(engine, pairs, range(10), config, None)
        found = [parameter.grad for parameter in policy.trainable().values() if parameter.grad is not None]
        return len(engine.pack(pairs.rows, range(10))), found

    (one, whole), (several, cut) = gradients(5000), gradients(150)
    assert one == 1 and several > 2
    assert len(whole) == len(cut) == 28
    assert any(gradient.abs().max() > 0 for gradient in whole)
    assert all(torch.allclose(one, other, rtol=1e-3, atol=1e-6) for one, other in zip(whole, cut, strict=True))


@pytest.mark.parametrize(("dtype", "advice"), [("float32", ""), ("bfloat16", " or train.dtype=float32")])
def test_a_loss_that_is_not_finite_stops_and_keeps_the_batch(
    engine: Engine, adapted: Policy, pairs: TrainingPairs, tmp_path: Path, dtype: str, advice: str
) -> None:
    parameters = adapted.trainable()
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    state = TrainingState(parameters, AdamW(parameters.values()))
    records = [record.model_copy(update={"read_from": f"train/{row}"}) for row, record in enumerate(pairs.records)]
    broken = pairs._replace(records=records, reference=ReferenceStore(tmp_path / "empty", "g", pairs.rows))
    with pytest.raises(RunError, match=rf"Step 1: the loss is nan.*failed_batch\.json.*rate{advice}, or leave") as said:
        config = settings(dtype=dtype)
        run_loop(preference_task(engine, broken, config, state), state, config, tmp_path, seed=0)
    assert "--restart-from" not in str(said.value)
    kept = json.loads((tmp_path / "failed_batch.json").read_bytes(), parse_constant=pytest.fail)
    assert kept["step"] == 1 and kept["loss"] is None and kept["terms"] == {"sigmoid": None} and kept["tokens"] > 0
    assert len(kept["pairs"]) == 4
    for pair in kept["pairs"]:
        record = next(record for record in records if record.id == pair["id"])
        assert pair == {name: getattr(record, name) for name in (*TEXTS, "id", "read_from", "image_id")}
    assert all(torch.equal(before[name], parameter) for name, parameter in parameters.items())
