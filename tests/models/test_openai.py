"""The client against a real HTTP server on loopback."""

import asyncio
import base64
import gc
import socket
import time
import warnings
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp.test_utils import unused_port
from tests.models.chat_server import ChatServer, Scripted, fails, says

from spavl.config import OpenAIModelConfig
from spavl.errors import UserError
from spavl.models import Completion, ImageInput, Reply, Request
from spavl.models.openai import LONGEST_RETRY_AFTER_S, OpenAIModel
from spavl.records import Failure

KEY = "sk-placeholder-0123456789"


def model_at(base_url: str, first_wait_s: float = 0.005, **settings: Any) -> OpenAIModel:
    config = OpenAIModelConfig(kind="openai", base_url=base_url, model="tiny", **({"retries": 2} | settings))
    return OpenAIModel(config, first_wait_s)


def ask(server: ChatServer, *requests: Request, first_wait_s: float = 0.005, **settings: Any) -> list[Reply]:
    """Runs the server and one group of requests."""

    async def run() -> list[Reply]:
        async with server.running() as base_url:
            model = model_at(base_url, first_wait_s, **settings)
            try:
                return await model.generate(requests or [Request(prompt="hello")])
            finally:
                await model.close()

    return asyncio.run(run())


def test_a_request_says_what_decides_the_answer_and_nothing_else() -> None:
    server = ChatServer(says(" Paris. "))
    request = Request(prompt="Where?", system="Be brief.", max_tokens=9, temperature=0.5, top_p=0.9, seed=4)
    assert ask(server, request) == [Completion(text="Paris.", prompt_tokens=7, completion_tokens=3)]
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where?"}]
    decoding = {"max_tokens": 9, "temperature": 0.5, "top_p": 0.9, "seed": 4}
    assert server.bodies == [{"model": "tiny", "messages": messages, **decoding}]


def test_answers_are_known_by_address_or_by_the_identity_in_its_place() -> None:
    """Without an identity the fingerprint is that of before there were any, so what was stored stays known."""
    at = model_at("http://old:1/v1/")
    assert at.fingerprint == {"kind": "openai", "base_url": "http://old:1/v1", "model": "tiny"}
    assert model_at("http://new:2/v1", identity="http://old:1/v1/").fingerprint == at.fingerprint
    named = model_at("http://old:1/v1", identity="mine")
    assert named.fingerprint == {"kind": "openai", "base_url": "mine", "model": "tiny"}


def test_an_answer_to_be_judged_is_the_assistants_turn_after_the_prompt() -> None:
    server = ChatServer(says("safe"))
    ask(server, Request(prompt="placeholder question", answered="placeholder answer", system="Be brief."))
    turns = [(message["role"], message["content"]) for message in server.bodies[0]["messages"]]
    assert turns == [("system", "Be brief."), ("user", "placeholder question"), ("assistant", "placeholder answer")]
    assert "continue_final_message" not in server.bodies[0]


def test_a_server_may_call_the_longest_answer_otherwise() -> None:
    server = ChatServer(says("ok"))
    ask(server, Request(prompt="Where?", max_tokens=9), length_field="max_completion_tokens")
    assert server.bodies[0]["max_completion_tokens"] == 9
    assert "max_tokens" not in server.bodies[0]


@pytest.mark.parametrize(("name", "kind"), [("a.png", "image/png"), ("b.jpg", "image/jpeg")])
def test_an_image_request_carries_the_bytes_of_the_picture(tmp_path: Path, name: str, kind: str) -> None:
    picture = tmp_path / name
    picture.write_bytes(bytes(range(256)))
    server = ChatServer(says("a cat"))
    ask(server, Request(prompt="What is this?", image=ImageInput(sha256=name, path=picture)))
    shown, text = server.bodies[0]["messages"][0]["content"]
    head, _, encoded = shown["image_url"]["url"].partition(",")
    assert (shown["type"], head) == ("image_url", f"data:{kind};base64")
    assert base64.b64decode(encoded) == picture.read_bytes()
    assert text == {"type": "text", "text": "What is this?"}


def test_a_picture_that_is_gone_is_that_requests_failure(tmp_path: Path) -> None:
    gone = Request(prompt="What is this?", image=ImageInput(sha256="gone", path=tmp_path / "gone.png"))
    replies = ask(ChatServer(says("hi")), gone, Request(prompt="hello"))
    assert [getattr(reply, "reason", "answered") for reply in replies] == ["unreadable_picture", "answered"]


@pytest.mark.parametrize("said", [" here it is", "Sure, here it is"])
def test_a_begun_answer_is_continued_and_its_beginning_stands_once_in_the_text(said: str) -> None:
    """What was begun is repeated by llama.cpp and left out by vLLM."""
    server = ChatServer(says(said))
    replies = ask(server, Request(prompt="Give it.", answer_prefix="Sure,"), prefill=True)
    assert replies[0] == Completion(text="Sure, here it is", prompt_tokens=7, completion_tokens=3)
    body = server.bodies[0]
    assert body["messages"][-1] == {"role": "assistant", "content": "Sure,"}
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)


@pytest.mark.parametrize("said", ["", "Sure,"])
def test_a_begun_answer_to_which_nothing_is_added_is_empty(said: str) -> None:
    (reply,) = ask(ChatServer(says(said)), Request(prompt="Give it.", answer_prefix="Sure,"), prefill=True)
    assert reply == Completion(text="", prompt_tokens=7, completion_tokens=3)


def test_a_begun_answer_is_not_sent_to_a_server_that_may_not_know_how_to_continue_it() -> None:
    server = ChatServer(says("Sure, what would you like?"))
    with pytest.raises(UserError, match="prefill"):
        ask(server, Request(prompt="Give it.", answer_prefix="Sure,"))
    assert server.bodies == []


def test_calls_that_were_stored_before_prefill_was_said_stay_valid() -> None:
    """What is sent is the same, so the call's key is."""
    assert model_at("http://x/v1", prefill=True).fingerprint == model_at("http://x/v1").fingerprint
    assert "prefill" not in model_at("http://x/v1", prefill=True).fingerprint


@pytest.mark.parametrize(
    ("reply", "finish", "text"),
    [
        (says("cut of", "length"), "length", "cut of"),
        (says(None, "content_filter"), "content_filter", ""),
        (says("half an ans", "content_filter"), "content_filter", "half an ans"),
        (says(None, "stop", refusal="I can't help with that."), "refusal", "I can't help with that."),
        (says(None, "refusal"), "refusal", ""),
        (fails(400, "filtered", code="content_filter"), "content_filter", ""),
        (fails(200, "filtered", code="content_filter"), "content_filter", ""),
        (says("  "), "stop", ""),
        (says(None, "length"), "length", ""),
    ],
)
def test_a_filter_stop_a_refusal_and_silence_are_answers_that_were_paid(
    reply: Scripted, finish: str, text: str
) -> None:
    (answer,) = ask(ChatServer(reply))
    assert isinstance(answer, Completion)
    assert (answer.finish, answer.text) == (finish, text)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Scripted(body=b'{"choices": [{"mess'), "bad_reply"),
        (Scripted(body=b"<html>busy</html>"), "bad_reply"),
        (Scripted(body=b'{"choices": []}'), "bad_reply"),
        (says("text", "abort"), "bad_reply"),
        (fails(400, "too many tokens"), "bad_request"),
        (Scripted(302, headers={"Location": "/elsewhere"}), "bad_request"),
    ],
)
def test_what_is_no_answer_is_a_failure_after_one_call(reply: Scripted, reason: str) -> None:
    server = ChatServer(reply)
    (answer,) = ask(server)
    assert isinstance(answer, Failure)
    assert answer.reason == reason
    assert len(server.bodies) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_passing_trouble_is_tried_again(status: int) -> None:
    server = ChatServer(fails(status), fails(status), says("at last"))
    (answer,) = ask(server)
    assert isinstance(answer, Completion)
    assert (answer.text, len(server.bodies)) == ("at last", 3)


@pytest.mark.parametrize("code", [429, 502, "overloaded", None])
def test_an_error_that_comes_with_status_200_is_the_trouble_it_says(code: int | str | None) -> None:
    """As from routers that pass on what a provider said; a key that is wrong is so too."""
    error = Scripted(body=orjson.dumps({"error": {"message": "placeholder trouble", "code": code}}))
    server = ChatServer(error, says("at last"))
    (answer,) = ask(server)
    assert isinstance(answer, Completion)
    assert (answer.text, len(server.bodies)) == ("at last", 2)
    with pytest.raises(UserError, match="api_key_env"):
        ask(ChatServer(Scripted(body=b'{"error": {"message": "no", "code": 401}}')))


def test_lasting_trouble_becomes_a_failure_that_may_pass() -> None:
    """Two further tries are allowed, so three requests are made."""
    server = ChatServer(fails(500, "placeholder breakdown"))
    (answer,) = ask(server, retries=2)
    assert isinstance(answer, Failure)
    assert (answer.reason, answer.transient, len(server.bodies)) == ("server_error", True, 3)
    assert "HTTP 500 placeholder breakdown" in answer.message


def test_retry_after_is_waited_for_by_that_request_alone() -> None:
    """The first request is put off for 0.4 s; the second, on the other slot, is answered at once."""

    async def run() -> tuple[float, float]:
        async with ChatServer(fails(429, Retry_After="0.4"), says("ok")).running() as base_url:
            model = model_at(base_url, first_wait_s=60, concurrency=2)
            started = time.monotonic()

            async def one() -> float:
                await model.generate([Request(prompt="hello")])
                return time.monotonic() - started

            put_off = asyncio.create_task(one())
            await asyncio.sleep(0.1)
            other = await one()
            return await put_off, other

    put_off, other = asyncio.run(run())
    assert other < 0.4 <= put_off < 5


def test_a_server_that_asks_for_a_very_long_wait_is_not_waited_for() -> None:
    server = ChatServer(fails(429, Retry_After=str(LONGEST_RETRY_AFTER_S + 1)))
    (answer,) = ask(server)
    assert isinstance(answer, Failure)
    assert (answer.reason, len(server.bodies)) == ("server_error", 1)


def test_a_hanging_request_times_out_and_others_are_answered() -> None:
    server = ChatServer(Scripted(after_s=30), says("quick"))
    replies = ask(server, Request(prompt="a"), Request(prompt="b"), retries=0, timeout_s=0.5)
    reasons = sorted(getattr(reply, "reason", "answered") for reply in replies)
    assert reasons == ["answered", "server_error"]


def test_a_server_that_replies_to_none_in_time_is_given_up_and_one_reply_starts_the_count_anew() -> None:
    """Of five one at a time one times out, one is answered, two time out, and the last is not sent."""
    slow = Scripted(after_s=30)
    server = ChatServer(slow, says("alive"), slow, slow)
    requests = [Request(prompt=f"placeholder {number}") for number in range(5)]
    replies = ask(server, *requests, retries=0, timeout_s=0.3, concurrency=1, give_up_after=2)
    reasons = [getattr(reply, "reason", "answered") for reply in replies]
    assert reasons == ["server_error", "answered", "server_error", "server_error", "server_silent"]
    assert len(server.bodies) == 4
    assert isinstance(replies[-1], Failure) and replies[-1].transient and "`give_up_after`" in replies[-1].message


@pytest.mark.parametrize(("status", "field"), [(401, "api_key_env"), (403, "model"), (404, "base_url")])
def test_a_wrong_key_model_or_address_stops_at_once_and_names_the_field(status: int, field: str) -> None:
    server = ChatServer(fails(status))
    with pytest.raises(UserError, match=field) as raised:
        ask(server)
    assert len(server.bodies) == 1
    assert "\n" not in str(raised.value)


def test_never_more_requests_in_flight_than_allowed() -> None:
    server = ChatServer(says("ok")._replace(after_s=0.01))
    replies = ask(server, *(Request(prompt=f"placeholder {number}") for number in range(64)), concurrency=8)
    assert len(replies) == 64
    assert all(isinstance(reply, Completion) for reply in replies)
    assert server.most_in_flight == 8


def test_waiting_for_a_free_slot_is_not_waiting_for_the_server() -> None:
    """Six requests of 0.15 s, one at a time: the last waits 0.75 s, longer than a request may take."""
    server = ChatServer(says("ok")._replace(after_s=0.15))
    replies = ask(server, *[Request(prompt="hello")] * 6, concurrency=1, timeout_s=0.5, retries=0)
    assert all(isinstance(reply, Completion) for reply in replies)


def test_a_picture_is_read_once_for_all_questions_about_it(tmp_path: Path) -> None:
    """The second question comes when the file is gone."""
    picture = ImageInput(sha256="once", path=tmp_path / "once.png")
    picture.path.write_bytes(b"placeholder")
    server = ChatServer(says("ok"))
    first = ask(server, Request(prompt="a", image=picture))
    picture.path.unlink()
    assert ask(server, Request(prompt="b", image=picture)) == first
    shown = [body["messages"][0]["content"][0] for body in server.bodies]
    assert shown[0] == shown[1]


def test_replies_come_in_the_order_of_the_requests() -> None:
    """The first reply takes longest; a later one overtakes it on the wire, not in the list."""
    server = ChatServer(says("slow")._replace(after_s=0.2), says("quick"))
    texts = []
    for reply in ask(server, Request(prompt="a"), Request(prompt="b"), concurrency=2):
        assert isinstance(reply, Completion)
        texts.append(reply.text)
    prompts = [body["messages"][0]["content"] for body in server.bodies]
    assert dict(zip(prompts, ["slow", "quick"], strict=True)) == dict(zip(["a", "b"], texts, strict=True))


def test_the_key_is_sent_and_never_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server repeats the key in its complaint, as some do."""
    monkeypatch.setenv("PLACEHOLDER_KEY", KEY)
    server = ChatServer(fails(500, f"bad day for {KEY}"))
    (answer,) = ask(server, api_key_env="PLACEHOLDER_KEY", retries=0)
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert isinstance(answer, Failure)
    assert "bad day for ***" in answer.message
    with pytest.raises(UserError) as raised:
        ask(ChatServer(fails(401, f"Incorrect key: {KEY}")), api_key_env="PLACEHOLDER_KEY")
    model = model_at("http://127.0.0.1:1/v1", api_key_env="PLACEHOLDER_KEY")
    for said in (str(raised.value), repr(model), repr(vars(model)), str(model.fingerprint)):
        assert KEY not in said


def test_a_key_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PLACEHOLDER_KEY", raising=False)
    server = ChatServer(says("ok"))
    with pytest.raises(UserError, match="PLACEHOLDER_KEY is not set"):
        ask(server, api_key_env="PLACEHOLDER_KEY")
    assert server.bodies == []


def test_without_a_key_no_authorization_is_sent() -> None:
    server = ChatServer(says("ok"))
    ask(server)
    assert "Authorization" not in server.headers[0]


def test_a_server_that_is_not_there_is_given_up_after_three_requests() -> None:
    """A fourth request is not tried at all."""

    async def run() -> list[Reply]:
        model = model_at(f"http://127.0.0.1:{unused_port()}/v1", first_wait_s=0.01, retries=1)
        return [(await model.generate([Request(prompt="hello")]))[0] for _ in range(4)]

    replies = asyncio.run(run())
    assert [getattr(reply, "reason", "") for reply in replies] == ["server_error"] * 3 + ["server_dead"]
    assert all(isinstance(reply, Failure) and reply.transient for reply in replies)
    assert "127.0.0.1" in getattr(replies[-1], "message", "")


def test_a_server_that_comes_back_is_not_given_up() -> None:
    """Two requests find nobody, one is answered, and the count begins anew: only then do three in a row end it."""

    async def run() -> list[str]:
        port = unused_port()
        model = model_at(f"http://127.0.0.1:{port}/v1", retries=0)

        async def one() -> str:
            (reply,) = await model.generate([Request(prompt="hello")])
            return getattr(reply, "reason", "answered")

        before = [await one(), await one()]
        async with ChatServer(says("back")).running(port):
            during = [await one()]
        await asyncio.sleep(0.01)  # until the client has seen that its connection was closed
        return before + during + [await one(), await one(), await one(), await one()]

    gone = "server_error"
    assert asyncio.run(run()) == [gone, gone, "answered", gone, gone, gone, "server_dead"]


def test_a_server_that_hangs_up_is_tried_again() -> None:
    """The first connection is closed without a word; the listener then gives way to the real server."""

    async def run() -> Reply:
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]

        async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()
            rude.close()

        rude = await asyncio.start_server(hang_up, sock=listener)
        model = model_at(f"http://127.0.0.1:{port}/v1", first_wait_s=0.3, retries=3)
        asked = asyncio.create_task(model.generate([Request(prompt="hello")]))
        await rude.wait_closed()
        async with ChatServer(says("ok")).running(port):
            return (await asked)[0]

    assert isinstance(asyncio.run(run()), Completion)


def test_one_model_serves_several_event_loops_and_leaks_no_connection() -> None:
    model = model_at(f"http://127.0.0.1:{(port := unused_port())}/v1")

    async def run() -> Reply:
        async with ChatServer(says("ok")).running(port):
            return (await model.generate([Request(prompt="hello")]))[0]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert isinstance(asyncio.run(run()), Completion)
        assert isinstance(asyncio.run(run()), Completion)
        gc.collect()
        asyncio.run(model.close())


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(UserError, match="base_url"):
        model_at("http://host:port/v1")
