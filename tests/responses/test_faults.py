"""The whole station against servers that go wrong in every way, and against budgets: counts add up, nothing twice."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.models.faulty_server import FAULTS, FaultyServer

from spavl.config import OpenAIModelConfig, ResponderConfig
from spavl.models import CallStore, ImageInput, open_models
from spavl.records import Question, Response
from spavl.responses import respond
from spavl.store import Manifest, StageDirectory

QUESTIONS = [
    Question(image_id="img-1", leaf="a/b/c", question_type="easy_question", text=f"Placeholder {fault}?", writer="w")
    for fault in FAULTS
]
PICTURE = ImageInput(sha256="0" * 64, path=Path(__file__).parent / "picture.png")
Stage = tuple[Manifest, StageDirectory]
Run = Callable[..., Stage]
Responders = Mapping[str, ResponderConfig]


@pytest.fixture
def server() -> Iterator[tuple[FaultyServer, str]]:
    """Goes wrong for the model `faulty`, in the way that the question names."""

    def fault(body: Mapping[str, Any], _: int) -> str | None:
        text = body["messages"][-1]["content"][1]["text"]
        return text.removeprefix("Placeholder ").removesuffix("?") if body["model"] == "faulty" else None

    faulty = FaultyServer(fault)
    with faulty.running() as url:
        yield faulty, url


@pytest.fixture
def run(tmp_path: Path, server: tuple[FaultyServer, str]) -> Run:
    def go(stage_name: str, names: list[str], responders: Responders | None = None, **settings: Any) -> Stage:
        fixed = {"kind": "openai", "base_url": server[1], "retries": 1, "timeout_s": 0.3}
        configs = {name: OpenAIModelConfig.model_validate(fixed | {"model": name} | settings) for name in names}
        store = CallStore(tmp_path / "calls.sqlite", "run")
        models = open_models(configs, store)
        stage = StageDirectory(tmp_path / stage_name, {}, {})
        asked = responders or {name: ResponderConfig(model=name) for name in names}
        try:
            manifest = asyncio.run(
                respond(asked, {one.id: one for one in QUESTIONS}, lambda _: PICTURE, models.__getitem__, stage)
            )
        finally:
            models.close()
            store.close()
        return manifest, stage

    return go


def test_every_fault_is_a_counted_outcome_and_only_passing_ones_are_asked_again(
    run: Run, server: tuple[FaultyServer, str]
) -> None:
    """16 questions for each of 2: `good` answers all; `faulty` has 7 server errors and 3 replies that are none.

    What it says with a refusal, a half answer or a cut one is a response; without a word it is a failure.
    """
    manifest, stage = run("first", ["good", "faulty"])
    counts = manifest.counts
    assert counts.by_reason == {"bad_reply": 3, "empty": 1, "filtered": 2, "server_error": 7}
    assert (counts.items, counts.records, counts.failures, counts.dropped) == (32, 16 + 3, 13, 0)
    said = {"content_filter": 1, "length": 1, "refusal": 1}
    faulty = said | counts.by_reason
    assert manifest.facts["outcomes_by_responder"] == {"good": {"stop": 16}, "faulty": faulty}
    texts = {one.finish: one.text for one in stage.records(Response) if one.responder == "faulty"}
    assert texts == {"length": "cut of", "content_filter": "half an answer", "refusal": "I would rather not."}
    assert sum(failure.transient for failure in stage.failures().values()) == 10

    asked_before = server[0].requests.copy()
    server[0].fault = lambda body, tries: None
    healed, _ = run("second", ["good", "faulty"])
    assert healed.counts.by_reason == {"empty": 1, "filtered": 2}
    assert (server[0].requests - asked_before).total() == healed.usage.calls == 10
    assert max(server[0].answered.values()) == 1


def test_a_budget_stops_one_responder_and_a_larger_one_asks_what_is_left(
    run: Run, server: tuple[FaultyServer, str]
) -> None:
    """A call may need at most 1,500 for the picture, 9 for the text and 64 written; it uses 25, at a price of 0.00007.

    So within 1,700 tokens calls go on while 25 n + 1,573 <= 1,700: six of 16; and within 1,800 ten.
    """
    price = {"input": 1, "output": 10, "currency": "EUR"}
    manifests = [run(f"{tokens}", ["one", "two"], price=price, budget={"tokens": tokens})[0] for tokens in (1700, 1800)]
    assert [manifest.counts.by_reason for manifest in manifests] == [{"budget": 20}, {"budget": 12}]
    assert [manifest.counts.records for manifest in manifests] == [12, 20]
    assert [manifest.usage.calls for manifest in manifests] == [12, 8]
    assert [manifest.usage.cost["EUR"] for manifest in manifests] == pytest.approx([12 * 0.00007, 8 * 0.00007])
    assert server[0].requests.total() == server[0].answered.total() == 20


def test_responders_of_one_model_share_its_budget(run: Run, server: tuple[FaultyServer, str]) -> None:
    """Within 1,700 tokens six calls of one model are made, as above: three for each of two responders."""
    conditions = {name: ResponderConfig(model="one", system=name) for name in ("plain", "careful")}
    manifest, _ = run("shared", ["one"], responders=conditions, concurrency=1, budget={"tokens": 1700})
    assert manifest.facts["answers_by_responder"] == {"careful": 3, "plain": 3}
    assert manifest.counts.by_reason == {"budget": 26}


def test_what_is_wrong_with_one_responder_of_a_model_is_no_trouble_of_another(
    run: Run, server: tuple[FaultyServer, str]
) -> None:
    """`begun` begins its answers for a server that is not said to continue them: that ends its own asking alone."""
    conditions = {
        "begun": ResponderConfig(model="one", answer_prefix="Sure,"),
        "plain": ResponderConfig(model="one"),
        "other": ResponderConfig(model="two"),
    }
    manifest, _ = run("apart", ["one", "two"], responders=conditions)
    assert manifest.facts["answers_by_responder"] == {"other": 16, "plain": 16}
    assert manifest.counts.by_reason == {"responder_failed": 16}
    assert server[0].answered.total() == 32


def test_within_one_stage_a_larger_budget_goes_on(run: Run, tmp_path: Path) -> None:
    """The stage is not finished by a kill; its budget failures are passing ones, so the same command asks them."""
    first, _ = run("stage", ["one", "two"], budget={"tokens": 1700})
    (tmp_path / "stage" / "manifest.json").unlink()
    second, _ = run("stage", ["one", "two"], budget={"tokens": 10**6})
    assert (first.counts.failures, second.counts.failures, second.counts.records) == (20, 0, 32)
    assert second.usage.calls == 32
