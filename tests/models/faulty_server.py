"""A chat-completions server on loopback that goes wrong in every way servers do, and counts what it was asked.

It runs in a thread with an event loop of its own, so that whole stages, which run theirs, can be tested against it.
"""

import asyncio
import hashlib
import math
import statistics
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from threading import Thread
from typing import Any

import orjson
from aiohttp import web

USAGE = {"prompt_tokens": 20, "completion_tokens": 5}
Reply = Callable[[web.Request], Awaitable[web.StreamResponse]]


def said(text: str | None, finish: str = "stop", **message: Any) -> bytes:
    """Returns the body of a well-formed reply."""
    choice = {"finish_reason": finish, "message": {"role": "assistant", "content": text, **message}}
    return orjson.dumps({"choices": [choice], "usage": USAGE})


def _sends(body: bytes, status: int = 200, headers: Callable[[], Mapping[str, str]] = dict) -> Reply:
    async def reply(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body, headers=headers())

    return reply


def _error(status: int, code: str | int | None = None, headers: Callable[[], Mapping[str, str]] = dict) -> Reply:
    return _sends(orjson.dumps({"error": {"message": "placeholder trouble", "code": code}}), status, headers)


async def _hang(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    raise AssertionError("nobody waits so long")


async def _reset(request: web.Request) -> web.StreamResponse:
    whole = said("never read to its end")
    response = web.StreamResponse(headers={"Content-Length": str(len(whole))})
    await response.prepare(request)
    await response.write(whole[: len(whole) // 2])
    assert request.transport is not None
    request.transport.abort()
    return response


FAULTS: Mapping[str, Reply] = {
    "429_seconds": _error(429, headers=lambda: {"Retry-After": "0.02"}),
    "429_date": _error(429, headers=lambda: {"Retry-After": format_datetime(datetime.now(UTC), usegmt=True)}),
    "500": _error(500),
    "503": _error(503),
    "hang": _hang,
    "reset": _reset,
    "truncated": _sends(said("cut in the middle")[:40]),
    "invalid_utf8": _sends(said("a placeholder").replace(b"placeholder", b"\xff\xfe\xfa")),
    "error_body": _error(200, 502),
    "no_choices": _sends(b'{"choices": []}'),
    "length": _sends(said("cut of", "length")),
    "silence": _sends(said("")),
    "filter_stop": _sends(said(None, "content_filter")),
    "filter_stop_midway": _sends(said("half an answer", "content_filter")),
    "filter_400": _error(400, "content_filter"),
    "refusal": _sends(said(None, refusal="I would rather not.")),
}
"""Name -> what is sent in place of an answer."""


def digest(body: Mapping[str, Any]) -> int:
    """Returns a number that stands for a request, the same on every run."""
    return int.from_bytes(hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).digest()[:8], "big")


def heavy_tail_s(body: Mapping[str, Any], mean_s: float, longest_s: float) -> float:
    """Returns a log-normal latency (sigma 1) drawn by the request."""
    normal = statistics.NormalDist().inv_cdf((digest(body) + 0.5) / 2**64)
    return min(longest_s, mean_s * math.exp(normal - 0.5))


class FaultyServer:
    """Answers, unless `fault` names one of `FAULTS` for a request, or there is no room for it.

    Args:
        fault: (a request's body, how often it came before) -> name of a fault, or nothing.
        latency_s: A request's body -> seconds before it is answered, or goes wrong.
        room: Requests taken at once; each further one gets a 429.
        answer: A request's body -> what is answered.
    """

    def __init__(
        self,
        fault: Callable[[dict[str, Any], int], str | None] = lambda body, tries: None,
        latency_s: Callable[[dict[str, Any]], float] = lambda body: 0.0,
        room: int = 10**6,
        answer: Callable[[dict[str, Any]], str] = lambda body: f"Placeholder answer {digest(body) % 1000}.",
    ) -> None:
        self.fault = fault
        self.latency_s = latency_s
        self.room = room
        self.answer = answer
        self.requests: Counter[int] = Counter()
        """Request -> how often it came."""
        self.answered: Counter[int] = Counter()
        """Request -> how often a whole and good answer was sent."""
        self.in_flight_at_arrival: list[int] = []
        self._in_flight = 0

    @contextmanager
    def running(self) -> Iterator[str]:
        """Yields the server's base URL."""
        loop = asyncio.new_event_loop()
        runner = loop.run_until_complete(self._start())
        thread = Thread(target=loop.run_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        finally:
            asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    async def _start(self) -> web.AppRunner:
        application = web.Application(client_max_size=2**26)
        application.router.add_post("/v1/chat/completions", self._take)
        runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    async def _take(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        name = digest(body)
        self._in_flight += 1
        self.in_flight_at_arrival.append(self._in_flight)
        self.requests[name] += 1
        try:
            fault = self.fault(body, self.requests[name] - 1)
            if self._in_flight > self.room:
                fault = "429_seconds"
            await asyncio.sleep(self.latency_s(body))
            if fault is not None:
                return await FAULTS[fault](request)
            self.answered[name] += 1
            return web.Response(body=said(self.answer(body)))
        finally:
            self._in_flight -= 1
