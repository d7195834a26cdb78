"""The responses station against real servers: one that answers, one that is dead, one that refuses the key."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest
from aiohttp import web

from spavl.config import OpenAIModelConfig, ResponderConfig
from spavl.errors import RunError
from spavl.models import CallStore, ImageInput, Models, open_models
from spavl.records import Question, Response
from spavl.responses import respond
from spavl.store import Manifest, StageDirectory

QUESTIONS = [
    Question(image_id="img-1", leaf="a/b/c", question_type="easy_question", text=f"Placeholder {n}?", writer="w")
    for n in range(4)
]


@pytest.fixture
def served() -> Iterator[tuple[str, list[str]]]:
    """A server that answers all but the key `wrong`, and the models it was asked for."""
    asked: list[str] = []
    ready: list[tuple[asyncio.AbstractEventLoop, int]] = []

    async def complete(request: web.Request) -> web.Response:
        body = await request.json()
        asked.append(body["model"])
        if body["model"] == "locked":
            return web.json_response({"error": {"message": "bad key"}}, status=401)
        if body["model"].startswith("strict"):
            return web.json_response({"error": {"message": "unknown field"}}, status=400)
        if body["model"] == "filtered":
            return web.json_response({"choices": [{"message": {"content": None}, "finish_reason": "content_filter"}]})
        message = {"role": "assistant", "content": f"Answer of {body['model']}."}
        return web.json_response({"choices": [{"message": message, "finish_reason": "stop"}]})

    async def start() -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", complete)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        ready.append((asyncio.get_running_loop(), runner.addresses[0][1]))

    loop = asyncio.new_event_loop()
    loop.run_until_complete(start())
    Thread(target=loop.run_forever, daemon=True).start()
    yield f"http://127.0.0.1:{ready[0][1]}/v1", asked
    loop.call_soon_threadsafe(loop.stop)


def show(image_id: str) -> ImageInput:
    path = Path(__file__).parent / "picture.png"
    return ImageInput(sha256="0" * 64, path=path)


@pytest.fixture
def run(tmp_path: Path, served: tuple[str, list[str]]) -> Callable[[list[str]], tuple[Manifest, StageDirectory]]:
    url, _ = served
    addresses = {"dead": "http://127.0.0.1:9/v1"}

    def go(names: list[str]) -> tuple[Manifest, StageDirectory]:
        configs = {
            name: OpenAIModelConfig(kind="openai", base_url=addresses.get(name, url), model=name, retries=0)
            for name in names
        }
        store = CallStore(tmp_path / "calls.sqlite")
        models: Models = open_models(configs, store)
        stage = StageDirectory(tmp_path / "responses", {"names": names}, {})
        responders = {name: ResponderConfig(model=name) for name in names}
        try:
            manifest = asyncio.run(
                respond(responders, {one.id: one for one in QUESTIONS}, show, models.__getitem__, stage)
            )
        finally:
            models.close()
            store.close()
        return manifest, stage

    return go


def test_failing_responders_lose_nothing_of_the_others(run: Callable) -> None:
    """4 questions for each of 4 responders, two of them broken: 16 items = 8 records + 8 failures."""
    manifest, stage = run(["good", "dead", "locked", "fine"])
    counts = manifest.counts
    assert (counts.items, counts.records, counts.failures, counts.dropped) == (16, 8, 8, 0)
    assert {one.responder for one in stage.records(Response)} == {"good", "fine"}
    assert {one.text for one in stage.records(Response)} == {"Answer of good.", "Answer of fine."}


def test_with_a_single_answering_responder_there_is_nothing_to_compare(run: Callable) -> None:
    with pytest.raises(RunError, match=r"at least two are needed. The commonest reason is server_error, 4 times: .*:9"):
        run(["good", "dead"])


def test_responders_that_are_all_refused_are_asked_again_by_the_same_command(
    run: Callable, served: tuple[str, list[str]]
) -> None:
    """4 questions for each of 2 responders: 8 calls, and 8 again."""
    for attempt in (1, 2):
        with pytest.raises(RunError, match=r"none of 8 items has a result.*bad_request, 8 times: .* unknown field"):
            run(["strict", "stricter"])
        assert len(served[1]) == 8 * attempt


def test_a_second_run_asks_nothing_again(run: Callable, served: tuple[str, list[str]], tmp_path: Path) -> None:
    run(["good", "fine"])
    asked = len(served[1])
    (tmp_path / "responses").rename(tmp_path / "moved")
    manifest, _ = run(["good", "fine"])
    assert len(served[1]) == asked == 8
    assert (manifest.usage.calls, manifest.usage.stored_calls) == (0, 8)


def test_a_filter_stop_without_words_is_counted_by_its_own_name_and_asked_once(
    run: Callable, served: tuple[str, list[str]], tmp_path: Path
) -> None:
    """It is an answer of the provider: kept in the call store, no passing failure, and not `empty`."""
    manifest, stage = run(["good", "fine", "filtered"])
    assert manifest.counts.by_reason == {"filtered": 4}
    assert not any(failure.transient for failure in stage.failures().values())
    (tmp_path / "responses").rename(tmp_path / "moved")
    run(["good", "fine", "filtered"])
    assert served[1].count("filtered") == 4
