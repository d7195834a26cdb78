"""One pass reads log-probabilities, values and scores, each at its place, whatever stands beside it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from tests.train.material import open_engine
from tests.train.rl.material import rl_settings

from spavl.models.loading import Vlm
from spavl.train.engine import Engine
from spavl.train.families import family_of
from spavl.train.policy import Policy, open_policy
from spavl.train.render import Renderer, Row
from spavl.train.rl.reading import Body, Wanted, adapter_active, read
from spavl.train.rl.rewards import read_heads
from spavl.train.rl.roles import CRITIC, POLICY, add_adapter
from spavl.train.scalar_head import ScalarHead

Picture = Callable[[str], Path]


@pytest.fixture
def rows(renderer: Renderer, picture: Picture) -> list[Row]:
    """Two prompts about one picture with answers of 3, 1 and 4 tokens; id 0 and the end token stand within them."""
    prompts = [renderer.prompt_at(question, picture("img-0")) for question in ("placeholder one", "placeholder two")]
    answers = [(0, 0, renderer.end_id), (renderer.end_id,), (5, renderer.end_id, 0, 7)]
    return [Row(str(number), "img-0", prompts[number // 2], (answer,)) for number, answer in enumerate(answers)]


@pytest.fixture
def head(vlm: Vlm) -> ScalarHead:
    torch.manual_seed(5)
    return ScalarHead(vlm.model.config.get_text_config().hidden_size)


@torch.no_grad()
def test_one_pass_reads_what_separate_passes_read(engine: Engine, rows: list[Row], head: ScalarHead) -> None:
    body = Body(engine)
    (packed,) = engine.pack(rows, range(3))
    together = read(body, packed, Wanted(True, 1.0, {"v": head}, {"s": head}))
    alone = engine.run(packed).split()
    assert all(torch.equal(one, other) for one, other in zip(together.logprobs, alone, strict=True))
    for one, other in zip(together.values["v"], engine.values(packed, head), strict=True):
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(together.scores["s"], engine.scores(packed, head))


@torch.no_grad()
def test_scores_and_values_do_not_depend_on_what_is_beside_an_answer(
    engine: Engine, rows: list[Row], head: ScalarHead
) -> None:
    """Answers of other lengths, id 0, and end tokens within an answer change nothing: places are told by index."""
    body = Body(engine)
    together = read_heads(body, {"s": head}, rows)["s"]
    alone = [read_heads(body, {"s": head}, [row])["s"][0] for row in rows]
    assert together == pytest.approx(alone, abs=1e-5)
    assert len({round(score, 4) for score in alone}) == 3


@torch.no_grad()
def test_values_are_read_before_their_tokens_and_the_first_token_has_one(
    engine: Engine, rows: list[Row], head: ScalarHead
) -> None:
    """The first value is read at the prompt's end, so it is that of an answer with another first token."""
    other = rows[0]._replace(answers=((9, 0),))
    found = []
    for row in (rows[0], other):
        (packed,) = engine.pack([row], [0])
        found.append(read(Body(engine), packed, Wanted(values={"v": head})).values["v"][0])
    assert found[0][0] == found[1][0]
    assert found[0][1] != found[1][1]


@torch.no_grad()
def test_log_probabilities_at_a_temperature_are_those_of_divided_logits(engine: Engine, rows: list[Row]) -> None:
    """The oracle is the model's own forward on one row: log softmax(logits / T) of the first answer's tokens."""
    (packed,) = engine.pack(rows[:1], [0])
    found = read(Body(engine), packed, Wanted(True, 2.0)).logprobs[0]
    ids = torch.tensor([[*rows[0].prompt, *rows[0].answers[0]]])
    shown = engine.family.encoder_outputs([engine.pictures("img-0")])
    logits = engine.model(input_ids=ids, mm_encoder_outputs=shown).logits[0].double()
    before = len(rows[0].prompt) - 1
    expected = (logits[before : before + 3] / 2.0).log_softmax(dim=-1)
    wanted = torch.stack([expected[place, token] for place, token in enumerate(rows[0].answers[0])])
    torch.testing.assert_close(found.double(), wanted, atol=1e-4, rtol=0)


@pytest.fixture
def adapted(vlm: Vlm) -> Policy:
    """A policy whose adapter has moved away from nothing."""
    policy = open_policy(vlm, family_of(vlm.model), rl_settings(), seed=0)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in policy.trainable().items():
            if "lora_B" in name:
                parameter.normal_(0, 0.1)
    return policy


def test_adapters_over_one_base_are_asked_apart_and_stay_trained(
    adapted: Policy, vlm: Vlm, picture: Picture, rows: list[Row], head: ScalarHead
) -> None:
    """The critic's adapter begins as the base, so its values are the reference's, and the policy's are others."""
    lora = rl_settings().lora
    assert lora is not None
    weights = add_adapter(adapted, CRITIC, lora, None)
    for parameter in weights.values():
        parameter.requires_grad_(True)
    engine = open_engine(vlm, picture)
    (packed,) = engine.pack(rows, range(3))
    found = {}
    for name in (POLICY, CRITIC, None):
        body = Body(engine, partial(adapter_active, adapted.peft, name))
        with body.active():
            found[name] = torch.cat(list(read(body, packed, Wanted(values={"v": head})).values["v"]))
    assert torch.equal(found[CRITIC].detach(), found[None].detach())
    assert not torch.allclose(found[POLICY], found[None])
    found[POLICY].sum().backward()
    assert all(parameter.grad is not None for parameter in adapted.trainable().values())
    assert all(parameter.grad is None for parameter in weights.values())
    found[CRITIC].sum().backward()
    assert all(parameter.grad is not None for parameter in weights.values())


def test_a_critic_that_begins_as_a_reward_model_says_what_it_says(
    adapted: Policy, vlm: Vlm, picture: Picture, rows: list[Row], head: ScalarHead
) -> None:
    """The policy's own adapter stands for a reward model's: a critic made of it has its scores."""
    lora = rl_settings().lora
    assert lora is not None
    add_adapter(adapted, CRITIC, lora, {name: one.detach() for name, one in adapted.trainable().items()})
    engine = open_engine(vlm, picture)
    scores = [
        read_heads(Body(engine, partial(adapter_active, adapted.peft, name)), {"s": head}, rows)["s"]
        for name in (POLICY, CRITIC)
    ]
    assert scores[0] == scores[1]
