"""Sampling by a server: each round the policy's adapter is written to a folder and loaded there under a new name.

Any OpenAI-compatible server will do that takes `load_lora_adapter` and returns token ids, as vLLM does
(`VLLM_ALLOW_RUNTIME_LORA_UPDATING=True vllm serve BASE --enable-lora`); it has to see the same files. What it sampled
is taken as token ids, never as text that would be tokenised anew, and held against what training reads (`replies.py`).
Both may still round otherwise, so log-probabilities are computed again before they count.
"""

import asyncio
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import orjson

from spavl.errors import RunError
from spavl.execution import backoff_s
from spavl.models.base import ImageInput
from spavl.models.chat_completions import encoded_picture
from spavl.models.generation import Generated
from spavl.rl_config import RlSettings, ServerConfig
from spavl.train.render import Row
from spavl.train.rl.replies import Expected, Unfinished, read_reply

TRIES = 4
FIRST_WAIT_S = 0.5


class _Refused(RunError):
    """The server answered, and does not do what it was asked."""


class Served(NamedTuple):
    """What the server needs to know of the policy."""

    write_adapter: Callable[[Path], None]
    """Writes the policy's adapter, as it is now, into a new folder."""
    folder: Path
    """Where adapters are written; the server sees it too."""
    questions: dict[str, str]
    """Prompt's id -> its question."""
    show: Callable[[str], ImageInput]
    """Image id -> the picture."""
    stop_ids: tuple[int, ...]
    image_token: int
    vocabulary: int
    """Ids below it are the policy's."""


class ServerSampler:
    """Samples from a server that is given the policy's adapter.

    Args:
        config: How answers are sampled.
        server: Where.
        served: The policy.
    """

    def __init__(self, config: RlSettings, server: ServerConfig, served: Served) -> None:
        self._config, self._server, self._served = config, server, served
        self._url = server.base_url.rstrip("/")
        self.at_once = server.concurrency * config.answers_per_prompt
        """Answers of as many requests as may be in flight."""
        self._name = ""
        self._expected = Expected(self._url, served.stop_ids, served.image_token, served.vocabulary, config.max_tokens)

    def follow(self, number: int) -> None:
        """Gives the server the policy as it is before a round, and takes those away that were written before.

        Folders say which those are, so that a training that goes on takes away what one that stopped had loaded.

        Raises:
            RunError: The server cannot be reached or refuses the adapter, or the disk is full.
        """
        folder = self._served.folder / f"round-{number:05}"
        self._served.write_adapter(folder)
        before = [old for old in self._served.folder.glob("round-*") if old != folder]
        self._name = self._called(folder)
        asyncio.run(self._exchange(folder, [self._called(old) for old in before]))
        for old in before:
            shutil.rmtree(old)

    def sample(self, asked: Sequence[Row], seed: int) -> list[Generated]:
        """Returns an answer to each row's prompt, in order; equal prompts that follow each other are one request.

        Raises:
            RunError: The server cannot be reached, refuses, or its reply is none that training could learn from.
        """
        return asyncio.run(self._sample(asked, seed))

    def _called(self, folder: Path) -> str:
        return f"{self._server.adapter_name}-{int(folder.name.removeprefix('round-'))}"

    async def _exchange(self, folder: Path, before: Sequence[str]) -> None:
        body = orjson.dumps({"lora_name": self._name, "lora_path": str(folder.resolve())})
        async with self._session() as session:
            try:
                await self._post(session, "load_lora_adapter", body)
            except _Refused:  # a name that is loaded already, by an attempt that stopped, is not loaded twice
                await self._unload(session, self._name)
                await self._post(session, "load_lora_adapter", body)
            for name in before:
                await self._unload(session, name)

    async def _unload(self, session: aiohttp.ClientSession, name: str) -> None:
        with suppress(_Refused):  # it is not there
            await self._post(session, "unload_lora_adapter", orjson.dumps({"lora_name": name}))

    async def _sample(self, asked: Sequence[Row], seed: int) -> list[Generated]:
        runs = [(row, len(list(same))) for row, same in groupby(asked)]
        slots = asyncio.Semaphore(self._server.concurrency)
        async with self._session() as session:

            async def one(place: int, row: Row, count: int) -> list[Generated]:
                async with slots:
                    return await self._answers(session, row, count, seed + place)

            found = await asyncio.gather(*(one(place, row, count) for place, (row, count) in enumerate(runs)))
        return [answer for answers in found for answer in answers]

    async def _answers(self, session: aiohttp.ClientSession, row: Row, count: int, seed: int) -> list[Generated]:
        """Asks until no answer was given up, a few times."""
        body = self._body(row, count, seed)
        for tries in range(1, TRIES):
            content = await self._post(session, "chat/completions", body)
            try:
                return read_reply(content, row, count, self._expected)
            except Unfinished:
                await asyncio.sleep(backoff_s(tries, FIRST_WAIT_S))
        return read_reply(await self._post(session, "chat/completions", body), row, count, self._expected)

    def _session(self) -> aiohttp.ClientSession:
        key = os.environ.get(self._server.api_key_env or "", "")
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        return aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(self._server.timeout_s))

    def _body(self, row: Row, count: int, seed: int) -> bytes:
        picture = {"type": "image_url", "image_url": {"url": encoded_picture(self._served.show(row.image_id))}}
        content: list[Any] = [picture, {"type": "text", "text": self._served.questions[row.id]}]
        return orjson.dumps(
            {
                "model": self._name,
                "messages": [{"role": "user", "content": content}],
                "n": count,
                "max_tokens": self._config.max_tokens,
                "temperature": self._config.temperature,
                "top_p": 1.0,
                "top_k": -1,
                "seed": seed % 2**63,
                "stop_token_ids": self._served.stop_ids,
                "logit_bias": {str(self._served.image_token): -100},
                "return_token_ids": True,
            }
        )

    async def _post(self, session: aiohttp.ClientSession, path: str, body: bytes) -> bytes:
        said, kind = "", RunError
        for tries in range(1, TRIES + 1):
            try:
                async with session.post(f"{self._url}/{path}", data=body, allow_redirects=False) as response:
                    content = await response.read()
                if response.ok:
                    return content
                said = f"{response.status}: {' '.join(content[:300].decode(errors='replace').split())}"
                if response.status < 500 and response.status != 429:
                    kind = _Refused
                    break
            except (aiohttp.ClientError, TimeoutError) as error:
                said = str(error) or type(error).__name__
            if tries < TRIES:
                await asyncio.sleep(backoff_s(tries, FIRST_WAIT_S))
        raise kind(
            f"rollouts.base_url: {self._url}/{path} failed ({said}). What was done is kept: mend the server and run "
            "the same command again."
        )
