"""A model behind an OpenAI-compatible server: connections, retries, and what an HTTP status means.

Connection errors, timeouts, 408, 429 and 5xx are tried again, after the time the server asks for or with exponential
backoff; the wait concerns that one request. Fewer are in flight for a while where more of them are refused (429) the
more there are, and they are spaced out where the configuration says how many a minute may have. A wrong key or model
name is nobody's fault but the configuration's and raises. A server that cannot be reached for several requests in a row
is given up for this process, and so is one that replies to none of several in time; one dead responder holds up no run.
It streams nothing.
"""

import asyncio
import functools
import os
import time
from collections.abc import AsyncGenerator, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

import aiohttp
from yarl import URL

from spavl.config import OpenAIModelConfig
from spavl.errors import UserError
from spavl.execution import InFlightLimit, MinuteLimit, Slots, backoff_s, retry_after_s
from spavl.models.base import Completion, Reply, Request, most_tokens
from spavl.models.chat_completions import error_status, read_refused_request, read_reply, request_body
from spavl.models.prefill import MEANING
from spavl.records import Failure

FIRST_WAIT_S = 0.5
LONGEST_RETRY_AFTER_S = 300.0
"""A server that asks for a longer wait than this is not waited for."""
DEAD_AFTER = 3
"""Requests in a row, each after all its tries, that find nobody at the server's address."""
RETRIED = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})
MISCONFIGURED = {
    HTTPStatus.UNAUTHORIZED: "the key is missing or wrong; see `api_key_env`",
    HTTPStatus.FORBIDDEN: "the key may not use this model; see `api_key_env` and `model`",
    HTTPStatus.NOT_FOUND: "there is no such model or no such address; see `model` and `base_url` (it ends with /v1)",
}


class _Trouble(NamedTuple):
    """Why one try gave no reply."""

    message: str
    retry_after_s: float | None = None
    unreachable: bool = False
    timed_out: bool = False
    refused: bool = False
    """Whether the server refuses the request because there are too many."""


class _Line(NamedTuple):
    """What requests of one event loop share."""

    session: aiohttp.ClientSession
    slots: Slots


class OpenAIModel:
    """A model behind an OpenAI-compatible chat-completions server.

    Args:
        config: Where the server is and how patient to be.
        first_wait_s: Seconds before the second try; each further wait is twice as long.

    Raises:
        UserError: `base_url` is no address.
    """

    group_size = 1

    def __init__(self, config: OpenAIModelConfig, first_wait_s: float = FIRST_WAIT_S) -> None:
        self._config = config
        self._first_wait_s = first_wait_s
        self._server = config.base_url.rstrip("/")
        try:
            self._url = URL(f"{self._server}/chat/completions")
        except ValueError as error:
            raise UserError(
                f"base_url: {self._server} is no address ({error}). Give one like http://host/v1."
            ) from error
        self._unreachable_in_a_row = self._silent_in_a_row = 0
        self._limit = InFlightLimit(config.concurrency)
        self._requests = MinuteLimit(config.requests_per_minute) if config.requests_per_minute else None
        self._tokens = MinuteLimit(config.tokens_per_minute) if config.tokens_per_minute else None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._keeper: AsyncGenerator[_Line, None] = self._keep_line()
        self._line: _Line | None = None

    @functools.cached_property
    def fingerprint(self) -> dict[str, Any]:
        """Whose answers they are: identity or address, and the model's name there.

        A server that changes its weights under one name is not noticed.
        """
        return {
            "kind": "openai",
            "base_url": self._config.identified().base_url.rstrip("/"),
            "model": self._config.model,
        }

    @property
    def concurrency(self) -> int:
        """Requests in flight."""
        return self._config.concurrency

    async def generate(self, requests: Sequence[Request]) -> list[Reply]:
        """Answers the requests side by side, in order.

        Raises:
            UserError: The server refuses the key, the model or the address, or a request begins its answer and the
                server is not said to continue one.
        """
        if any(request.answer_prefix for request in requests) and not self._config.prefill:
            raise UserError(f"{self._server}: a request begins its answer, and `prefill` is not set. Set it {MEANING}.")
        if len(requests) == 1:  # a group of this model; it needs no task of its own
            return [await self._answer(requests[0])]
        return list(await asyncio.gather(*(self._answer(request) for request in requests)))

    async def close(self) -> None:
        """Closes the connections of the running event loop; those of earlier loops ended with their loops."""
        if self._loop is asyncio.get_running_loop():
            await self._keeper.aclose()
        self._loop = self._line = None

    async def _answer(self, request: Request) -> Reply:
        try:
            body = request_body(self._config.model, request, self._config.length_field)
        except OSError as error:
            return Failure(reason="unreadable_picture", message=f"The picture cannot be read: {error.strerror}.")
        line = await self._connect()
        for tries in range(1, self._config.retries + 2):
            await self._await_turn(request)
            async with line.slots:
                if self._unreachable_in_a_row >= DEAD_AFTER:
                    return _server_dead(self._server)
                if self._silent_in_a_row >= self._config.give_up_after:
                    return _server_silent(self._server, self._config.give_up_after)
                cuts = self._limit.cuts
                result = await self._try(line.session, body, request.answer_prefix)
                self._limit.heard(refused=isinstance(result, _Trouble) and result.refused, cuts=cuts)
            self._correct_tokens(request, result)
            if not isinstance(result, _Trouble):
                return result
            trouble = result
            if tries > self._config.retries or (trouble.retry_after_s or 0) > LONGEST_RETRY_AFTER_S:
                break
            await asyncio.sleep(self._wait_s(tries, trouble))
        self._unreachable_in_a_row += trouble.unreachable
        self._silent_in_a_row += trouble.timed_out
        message = f"{self._server} gave no answer ({tries} tries): {trouble.message}"
        return Failure(reason="server_error", message=message, transient=True)

    async def _await_turn(self, request: Request) -> None:
        """Waits until the minute's requests and tokens allow another try."""
        now_s = time.monotonic()
        waits_s = [self._requests.reserve(1, now_s)] if self._requests else []
        if self._tokens:
            waits_s.append(self._tokens.reserve(sum(most_tokens(request)), now_s))
        if any(waits_s):
            await asyncio.sleep(max(waits_s))

    def _correct_tokens(self, request: Request, result: Reply | _Trouble) -> None:
        if self._tokens:
            used = isinstance(result, Completion) and result.prompt_tokens + result.completion_tokens
            self._tokens.correct(used - sum(most_tokens(request)))

    async def _try(self, session: aiohttp.ClientSession, body: bytes, answer_prefix: str) -> Reply | _Trouble:
        try:
            async with session.post(self._url, data=body, allow_redirects=False) as response:
                content = await response.read()
        except TimeoutError as error:
            unreachable = isinstance(error, aiohttp.ConnectionTimeoutError)
            said = f"no reply within {self._config.timeout_s:g} s"
            return _Trouble(said, unreachable=unreachable, timed_out=not unreachable)
        except aiohttp.ClientError as error:
            return _Trouble(self._quote(str(error)), unreachable=isinstance(error, aiohttp.ClientConnectorError))
        self._unreachable_in_a_row = self._silent_in_a_row = 0
        if response.ok and response.status < HTTPStatus.MULTIPLE_CHOICES:
            reply = read_reply(content, answer_prefix)
            status = error_status(content) if isinstance(reply, Failure) else None
            return reply if status is None else self._read_status(status, "", content)
        return self._read_status(response.status, response.headers.get("Retry-After", ""), content)

    def _read_status(self, status: int, retry_after: str, content: bytes) -> Reply | _Trouble:
        said, filtered = read_refused_request(content)
        message = f"HTTP {status} {self._quote(said)}".rstrip()
        if filtered:
            return Completion(text="", finish="content_filter")
        if status in RETRIED or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return _Trouble(message, retry_after_s(retry_after), refused=status == HTTPStatus.TOO_MANY_REQUESTS)
        if status in MISCONFIGURED:
            reason = MISCONFIGURED[HTTPStatus(status)]
            raise UserError(f"{self._server} refuses model '{self._config.model}': {reason} ({message}).")
        return Failure(reason="bad_request", message=f"{self._server} refuses the request: {message}")

    async def _connect(self) -> _Line:
        """Returns the running event loop's connections, opening them on its first request.

        `asyncio.run` closes the asynchronous generators that are still open at its end; so the session, which a
        generator keeps, ends with its event loop, and whoever forgets `close` leaks nothing.
        """
        if self._line is None or self._loop is not asyncio.get_running_loop():
            self._loop, self._keeper = asyncio.get_running_loop(), self._keep_line()
            self._line = await anext(self._keeper)
        return self._line

    async def _keep_line(self) -> AsyncGenerator[_Line, None]:
        headers = {"Content-Type": "application/json"}
        if self._config.api_key_env:
            headers["Authorization"] = f"Bearer {self._key()}"
        timeout = aiohttp.ClientTimeout(total=self._config.timeout_s)
        connector = aiohttp.TCPConnector(limit=self._config.concurrency)
        options: dict[str, Any] = {"headers": headers, "timeout": timeout, "cookie_jar": aiohttp.DummyCookieJar()}
        async with aiohttp.ClientSession(connector=connector, **options) as session:
            yield _Line(session, Slots(self._limit))

    def _key(self) -> str:
        """Reads the key where it is needed; it is never kept, so it can never be printed."""
        name = self._config.api_key_env
        key = os.environ.get(name, "").strip() if name else ""
        if name and not key:
            raise UserError(
                f"api_key_env: the environment variable {name} is not set. Set it to the key of {self._server}."
            )
        return key

    def _quote(self, said: str) -> str:
        """Shortens what a server said and takes the key out, which some servers repeat."""
        key = os.environ.get(self._config.api_key_env, "").strip() if self._config.api_key_env else ""
        return (said.replace(key, "***") if key else said)[:300]

    def _wait_s(self, tries: int, trouble: _Trouble) -> float:
        if trouble.retry_after_s is not None:
            return trouble.retry_after_s
        return backoff_s(tries, self._first_wait_s)


def _server_silent(server: str, requests: int) -> Failure:
    message = (
        f"{server} gave no reply in time to {requests} requests in a row, and to no other, and is not asked any more "
        "in this process (`give_up_after`)."
    )
    return Failure(reason="server_silent", message=message, transient=True)


def _server_dead(server: str) -> Failure:
    message = f"{server} could not be reached {DEAD_AFTER} times in a row and is not asked any more in this process."
    return Failure(reason="server_dead", message=message, transient=True)
