"""The client against a server that goes wrong in every way; what is asserted are counts, never seconds."""

import asyncio
from typing import Any

import pytest
from tests.models.faulty_server import FAULTS, FaultyServer, digest, heavy_tail_s

from spavl.config import OpenAIModelConfig
from spavl.models import Reply, Request
from spavl.models.openai import OpenAIModel
from spavl.records import Failure

RETRIED = ("429_seconds", "429_date", "500", "503", "hang", "reset", "error_body")
NO_ANSWER = ("truncated", "invalid_utf8", "no_choices")
FINISHES = {
    "length": "length",
    "silence": "stop",
    "filter_stop": "content_filter",
    "filter_stop_midway": "content_filter",
    "filter_400": "content_filter",
    "refusal": "refusal",
}
ANSWERED = "stop"


def ask(url: str, count: int, **settings: Any) -> list[Reply]:
    """Asks that many requests side by side."""
    config = {"kind": "openai", "base_url": url, "model": "m", "retries": 2, "timeout_s": 0.3} | settings

    async def run() -> list[Reply]:
        model = OpenAIModel(OpenAIModelConfig.model_validate(config), first_wait_s=0.005)
        try:
            return await model.generate([Request(prompt=f"Placeholder {number}?") for number in range(count)])
        finally:
            await model.close()

    return asyncio.run(run())


def outcome(reply: Reply) -> str:
    return reply.reason if isinstance(reply, Failure) else reply.finish


def test_every_fault_has_its_expectation() -> None:
    assert {*RETRIED, *NO_ANSWER, *FINISHES} == set(FAULTS)


@pytest.mark.parametrize(
    ("fault", "lasting", "passing"),
    [
        *((fault, ("server_error", 3), (ANSWERED, 2)) for fault in RETRIED),
        *((fault, ("bad_reply", 1), ("bad_reply", 1)) for fault in NO_ANSWER),
        *((fault, (finish, 1), (finish, 1)) for fault, finish in FINISHES.items()),
    ],
)
def test_a_fault_is_a_typed_outcome_after_so_many_requests(
    fault: str, lasting: tuple[str, int], passing: tuple[str, int]
) -> None:
    """Two further tries are allowed; then a fault that comes once only. What may have been paid is not asked again."""
    for fault_of_try, expected in ((lambda _, tries: fault, lasting), (lambda _, tries: [fault, None][tries], passing)):
        server = FaultyServer(fault_of_try)
        with server.running() as url:
            (reply,) = ask(url, 1)
        assert (outcome(reply), server.requests.total()) == expected
        assert not isinstance(reply, Failure) or reply.transient


def test_a_heavy_tail_loses_nothing_and_keeps_the_slots_full() -> None:
    server = FaultyServer(latency_s=lambda body: heavy_tail_s(body, mean_s=0.01, longest_s=0.2))
    with server.running() as url:
        replies = ask(url, 200, concurrency=16, timeout_s=5)
    assert [outcome(reply) for reply in replies] == [ANSWERED] * 200
    assert server.answered.total() == server.requests.total() == 200
    assert max(server.in_flight_at_arrival) == 16


def test_where_more_are_refused_the_more_there_are_fewer_are_sent() -> None:
    """The server takes 4 at once; up to 48 are sent at first, and at the end as many as are mostly taken."""
    server = FaultyServer(latency_s=lambda _: 0.02, room=4)
    with server.running() as url:
        replies = ask(url, 300, concurrency=48, retries=200, timeout_s=5)
    assert [outcome(reply) for reply in replies] == [ANSWERED] * 300
    assert server.answered.total() == 300
    assert max(server.in_flight_at_arrival) > 24
    assert max(server.in_flight_at_arrival[-100:]) <= 12
    assert server.requests.total() < 1500  # some 6,000 with 48 all the time


def test_refusals_by_chance_do_not_slow_the_others_down() -> None:
    """A tenth is refused once, whatever the load, and answered at its second try; 48 were never halved to 24."""
    server = FaultyServer(
        lambda body, tries: "429_seconds" if not tries and digest(body) % 10 == 0 else None, lambda _: 0.02
    )
    with server.running() as url:
        replies = ask(url, 600, concurrency=48, timeout_s=5)
    assert [outcome(reply) for reply in replies] == [ANSWERED] * 600
    refused = server.requests.total() - 600
    assert refused == sum(1 for tries in server.requests.values() if tries == 2) > 30
    assert max(server.in_flight_at_arrival[300:600]) > 24


def test_requests_and_tokens_a_minute_hold_back_and_lose_nothing() -> None:
    """6,000 requests a minute are one each 10 ms, so a server that takes 50 ms has some five at a time."""
    server = FaultyServer(latency_s=lambda _: 0.05)
    with server.running() as url:
        replies = ask(url, 20, concurrency=20, requests_per_minute=6000, tokens_per_minute=10**7, timeout_s=5)
    assert [outcome(reply) for reply in replies] == [ANSWERED] * 20
    assert max(server.in_flight_at_arrival) <= 15
