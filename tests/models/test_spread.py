"""A model whose copies answer elsewhere: its face, its part of the limits, and that a copy is the same model."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.models.scripted import ScriptedModel

from spavl.config import HfModelConfig, ModelConfig, OpenAIModelConfig
from spavl.errors import UserError
from spavl.models import Reply, Request
from spavl.models.base import Model
from spavl.models.spread import Copy, SpreadModel, shared_out

SERVER = OpenAIModelConfig(
    kind="openai", base_url="http://127.0.0.1:1/v1", model="m", concurrency=5, requests_per_minute=30
)
LOCAL = HfModelConfig(kind="hf", path="somewhere")


class Elsewhere:
    """Opens copies with the function it is given, and asks them."""

    def __init__(self, model: Model) -> None:
        self.model = model

    async def ask(self, key: Copy, requests: Sequence[Request]) -> list[Reply]:
        return await key.opened(lambda _: self.model).generate(requests)

    async def free(self, key: Copy) -> None:
        await self.model.close()


def test_a_worker_has_its_part_of_a_servers_limits_and_a_local_model_as_it_is() -> None:
    """5 in flight over 2 workers are 3 each, at most 5 together, since no more are asked; 30 a minute are 15."""
    part = shared_out(SERVER, 2)
    assert isinstance(part, OpenAIModelConfig)
    assert (part.concurrency, part.requests_per_minute, part.tokens_per_minute) == (3, 15, None)
    assert shared_out(LOCAL, 2) is LOCAL


@pytest.mark.parametrize(("config", "in_flight"), [(SERVER, 4), (LOCAL, 12)])
def test_groups_are_the_models_and_a_local_model_answers_one_in_every_worker(
    config: ModelConfig, in_flight: int
) -> None:
    spread = SpreadModel(ScriptedModel(group_size=2, concurrency=4), config, Elsewhere(ScriptedModel()), 3)
    assert (spread.group_size, spread.concurrency) == (2, in_flight)
    assert spread.fingerprint == {"kind": "scripted"}


def test_copies_answer_and_are_closed_with_the_model_that_is_never_asked() -> None:
    here, there = ScriptedModel(), ScriptedModel()
    spread = SpreadModel(here, SERVER, Elsewhere(there), 2)

    async def talk() -> list[Reply]:
        replies = await spread.generate([Request(prompt="morning")])
        await spread.close()
        return replies

    assert [getattr(reply, "text", None) for reply in asyncio.run(talk())] == ["morning"]
    assert (here.groups, there.groups) == ([], [["morning"]])
    assert here.closed and there.closed


def test_a_copy_of_other_weights_is_refused(tmp_path: Path) -> None:
    there = ScriptedModel()
    there.fingerprint = {"kind": "scripted", "weights": "others"}
    spread = SpreadModel(ScriptedModel(), SERVER, Elsewhere(there), 2)
    with pytest.raises(UserError, match="A worker found another model than this process"):
        asyncio.run(spread.generate([Request(prompt="morning")]))
    assert there.groups == []
