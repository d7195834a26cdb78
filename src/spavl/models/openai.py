"""A model behind an OpenAI-compatible server: connections, retries, and what an HTTP status means.

Connection errors, timeouts, 408, 429 and 5xx are tried again, after the time the server asks for or with exponential
backoff; the wait concerns that one request. A wrong key or model name is nobody's fault but the configuration's and
raises. A server that cannot be reached for several requests in a row is given up for this process, so that one dead
responder does not hold up a run. It streams nothing, and it does not lower its concurrency by itself.
"""

import asyncio
import os
import random
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, NamedTuple

import aiohttp
from yarl import URL

from spavl.config import OpenAIModelConfig
from spavl.errors import UserError
from spavl.models.base import Completion, Reply, Request
from spavl.models.chat_completions import read_refused_request, read_reply, request_body
from spavl.records import Failure

FIRST_WAIT_S = 0.5
LONGEST_BACKOFF_S = 30.0
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


class _Line(NamedTuple):
    """What requests of one event loop share."""

    session: aiohttp.ClientSession
    slots: asyncio.Semaphore


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
            raise UserError(f"base_url: {config.base_url!r} is no address ({error}); give one like http://host:8000/v1.") from error
        self._lines: dict[asyncio.AbstractEventLoop, AsyncGenerator[_Line]] = {}
        self._line: tuple[asyncio.AbstractEventLoop, _Line] | None = None
        self._unreachable_in_a_row = 0

    @property
    def fingerprint(self) -> dict[str, Any]:
        """The server and the model's name there; a server that changes its weights under one name is not noticed."""
        return {"kind": "openai", "base_url": self._server, "model": self._config.model}

    @property
    def concurrency(self) -> int:
        """Requests in flight."""
        return self._config.concurrency
