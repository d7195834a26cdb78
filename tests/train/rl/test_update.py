"""Gradients of an update are those of a row an answer, however it is cut; the first step's ratios are 1."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.train.material import open_engine
from tests.train.rl.material import rl_settings
from torch import Tensor
from torch.optim import AdamW

from spavl.errors import RunError
from spavl.models.loading import Vlm, load_vlm
from spavl.rl_config import CriticConfig, PtxConfig
from spavl.train.checkpoint import TrainingState
from spavl.train.families import family_of
from spavl.train.policy import Policy, open_policy
from spavl.train.render import Renderer, Row
from spavl.train.rl.experience import Known, Scores, Worth, know, weigh
from spavl.train.rl.reading import Body, adapter_active
from spavl.train.rl.roles import POLICY, Base, Roles, open_roles
from spavl.train.rl.steering import Steering
from spavl.train.rl.update import Round, UpdateFigures, _accumulate, _imitate, plan_round, update

CONFIG = rl_settings(method="rloo", minibatch_size=6, inner_epochs=1, clip=0.2)
Picture = Callable[[str], Path]


@pytest.fixture
def rows(renderer: Renderer, picture: Picture) -> list[Row]:
    """Two prompts with three answers each, of 1 to 6 tokens; id 0 and end tokens stand within, two are equal."""
    answers = [(0, 5, 0), (renderer.end_id,), (7, renderer.end_id, 9, 0, 3, 4), (8, 8), (8, 8), (250, 0, 0, 1)]
    prompts = [renderer.prompt_at(text, picture("img-0")) for text in ("placeholder one", "placeholder two")]
    return [Row(str(place), "img-0", prompts[place // 3], (answer,)) for place, answer in enumerate(answers)]


@pytest.fixture
def moved(vlm: Vlm) -> Policy:
    policy = open_policy(vlm, family_of(vlm.model), CONFIG, seed=0)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in policy.trainable().items():
            parameter.add_(torch.randn_like(parameter) * (0.05 if "lora_B" in name else 0.0))
    return policy


def roles_of(policy: Policy, vlm: Vlm, picture: Picture, budget: int = 500) -> Roles:
    engine = open_engine(vlm, picture, budget)
    actor, reference = (Body(engine, partial(adapter_active, policy.peft, name)) for name in (POLICY, None))
    return Roles(policy, actor, reference, None, {}, {})


def material(roles: Roles, rows: list[Row]) -> tuple[Known, Worth, list[list[list[int]]]]:
    plans = plan_round(rows, CONFIG, "test")
    known = know(roles, rows, plans[0], CONFIG.temperature)
    scores = Scores(torch.tensor([1.0, 0.0, 3.0, -1.0, 0.5, 2.0]), None)
    return known, weigh(known, scores, Steering.start(CONFIG), CONFIG), plans


def gradients(roles: Roles, work: Round) -> dict[str, Tensor]:
    """Returns the gradient of one minibatch of all answers."""
    found = UpdateFigures(steps=1)
    _accumulate(roles, work, range(6), CONFIG, found)
    named = {name: parameter.grad for name, parameter in roles.policy.trainable().items()}
    roles.policy.model.zero_grad(set_to_none=True)
    return {name: gradient for name, gradient in named.items() if gradient is not None}


def naive(roles: Roles, work: Round, rows: list[Row]) -> dict[str, Tensor]:
    """Returns it by the model's own forward, a row an answer: -Σ ρ A / tokens, at ratios of 1."""
    engine, total = roles.actor.engine, int(work.known.lengths.sum())
    shown = engine.family.encoder_outputs([engine.pictures("img-0")])
    for place, row in enumerate(rows):
        (answer,) = row.answers
        logits = engine.model(input_ids=torch.tensor([[*row.prompt, *answer]]), mm_encoder_outputs=shown).logits[0]
        before = len(row.prompt) - 1
        logprobs = (logits[before : before + len(answer)] / CONFIG.temperature).log_softmax(dim=-1)
        taken = logprobs[torch.arange(len(answer)), torch.tensor(answer)]
        (-(taken * work.worth.advantages[place, : len(answer)]).sum() / total).backward()
    named = {name: parameter.grad for name, parameter in roles.policy.trainable().items()}
    roles.policy.model.zero_grad(set_to_none=True)
    return {name: gradient for name, gradient in named.items() if gradient is not None}


@pytest.mark.parametrize("budget", [500, 70])
def test_gradients_are_those_of_a_row_an_answer_however_they_are_packed(
    budget: int, moved: Policy, vlm: Vlm, picture: Picture, rows: list[Row]
) -> None:
    """70 tokens have room for one prompt and a few answers, 500 for all."""
    roles = roles_of(moved, vlm, picture, budget)
    known, worth, plans = material(roles, rows)
    work = Round(known, worth, plans, False, ())
    found, expected = gradients(roles, work), naive(roles, work, rows)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=2e-3, atol=2e-5 * float(gradient.abs().max() + 1))


def test_the_first_answer_token_and_the_last_are_known(
    moved: Policy, vlm: Vlm, picture: Picture, rows: list[Row]
) -> None:
    """Each answer alone has the log-probabilities that it has among others, all of its tokens, id 0 included."""
    roles = roles_of(moved, vlm, picture)
    together = know(roles, rows, [list(range(6))], 1.0)
    assert together.lengths.tolist() == [3, 1, 6, 2, 2, 4]
    for place, row in enumerate(rows):
        alone = know(roles, [row], [[0]], 1.0)
        length = len(row.answers[0])
        torch.testing.assert_close(together.policy[place, :length], alone.policy[0], atol=1e-4, rtol=1e-4)
        assert not together.policy[place, length:].any()


def take(roles: Roles, work: Round) -> Any:
    state = TrainingState(roles.trainable(), AdamW(roles.parameter_groups(CONFIG)))
    return update(roles, state, work, CONFIG, 1.0)


def test_a_policy_that_is_not_the_one_that_answered_is_noticed(
    moved: Policy, vlm: Vlm, picture: Picture, rows: list[Row]
) -> None:
    """One log-probability is off by its last bits: another temperature, cut or padding would change more."""
    roles = roles_of(moved, vlm, picture)
    known, worth, plans = material(roles, rows)
    assert take(roles, Round(known, worth, plans, False, ())).steps == 1
    known, worth, plans = material(roles, rows)
    known.policy[2, 3] += 1e-5
    with pytest.raises(RunError, match="not the one that answered"):
        take(roles, Round(known, worth, plans, False, ()))


def test_a_loss_that_is_no_number_is_not_learnt_from(
    moved: Policy, vlm: Vlm, picture: Picture, rows: list[Row]
) -> None:
    roles = roles_of(moved, vlm, picture)
    known, worth, plans = material(roles, rows)
    worth.advantages[0, 0] = torch.nan
    before = {name: parameter.detach().clone() for name, parameter in moved.trainable().items()}
    with pytest.raises(RunError, match="It was not taken"):
        take(roles, Round(known, worth, plans, False, ()))
    assert all(torch.equal(before[name], parameter) for name, parameter in moved.trainable().items())


def critics_round(
    rows: list[Row], tiny: Path, picture: Picture, tmp_path: Path, **changes: Any
) -> tuple[UpdateFigures, Tensor]:
    """Passes one minibatch of all six answers: every advantage is 1 and every return 2, but for two certain tokens.

    These two had the log-probability 0 when they were drawn, and their advantage is -1. Returns the figures and the
    gradient of the critic's head.
    """
    config = rl_settings(cache=tmp_path / "cache", **changes)
    vlm = load_vlm(tiny)
    roles = open_roles(Base(vlm, family_of(vlm.model), tiny, picture), config, 0, None)
    known = know(roles, rows, [list(range(6))], config.temperature)
    worth = Worth(torch.where(known.real, 1.0, 0.0), {"reward": torch.where(known.real, 2.0, 0.0)})
    for place, token in ((0, 1), (5, 0)):
        known.policy[place, token], worth.advantages[place, token] = 0.0, -1.0
    found = UpdateFigures(steps=1)
    _accumulate(roles, Round(known, worth, [[list(range(6))]], False, ()), range(6), config, found)
    gradient = roles.heads["reward"].weight.grad
    assert gradient is not None
    return found, gradient


@pytest.mark.parametrize("budget", [500, 70])
@pytest.mark.parametrize("kind", ["own", "shared"])
def test_losses_are_means_over_every_token_of_the_minibatch_certain_ones_and_values_of_0_included(
    kind: Any, budget: int, rows: list[Row], tiny: Path, picture: Picture, tmp_path: Path
) -> None:
    """18 tokens. Of 16 the ratio is 1: -1 each. Of the two certain ones it is far below 0.8, and A = -1: 0.8 each.

    (-16 + 2 x 0.8) / 18 = -0.8. A head of zeros expects 0: (0 - 2)^2 / 2 = 2 of every token.
    """
    critic = CriticConfig(kind=kind)
    found, _ = critics_round(rows, tiny, picture, tmp_path, critic=critic, tokens_per_forward=budget)
    assert found.policy_losses == [pytest.approx(-0.8, abs=1e-5)]
    assert found.value_losses == [pytest.approx(2.0)]


@pytest.mark.parametrize("kind", ["own", "shared"])
def test_the_critics_loss_counts_by_its_weight(
    kind: Any, rows: list[Row], tiny: Path, picture: Picture, tmp_path: Path
) -> None:
    one, other = (
        critics_round(rows, tiny, picture, tmp_path, critic=CriticConfig(kind=kind, value_weight=weight))
        for weight in (0.1, 0.4)
    )
    assert one[0].value_losses == other[0].value_losses
    torch.testing.assert_close(4 * one[1], other[1])


def test_imitation_is_the_answers_mean_surprise_by_its_weight(
    moved: Policy, vlm: Vlm, picture: Picture, rows: list[Row]
) -> None:
    """-Σ log π / 18 tokens at temperature 1, and gradients in proportion to the weight."""
    roles = roles_of(moved, vlm, picture)
    surprise = -float(know(roles, rows, [list(range(6))], 1.0).policy.sum()) / 18
    found = {}
    for weight in (0.1, 0.4):
        figures = UpdateFigures()
        _imitate(roles.actor, rows, rl_settings(ptx=PtxConfig(weight=weight)), figures)
        assert figures.imitation_losses == [pytest.approx(surprise, rel=1e-5)]
        found[weight] = {name: one.grad.clone() for name, one in moved.trainable().items() if one.grad is not None}
        moved.model.zero_grad(set_to_none=True)
    for name, gradient in found[0.1].items():
        torch.testing.assert_close(4 * gradient, found[0.4][name], rtol=1e-4, atol=1e-7)
