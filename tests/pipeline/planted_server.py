"""A loopback server whose models and judges answer by planted rules, in a thread of its own."""

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from aiohttp import web


class Asked(NamedTuple):
    """What a request asks."""

    model: str
    text: str
    """The last user turn, and what an assistant said to it."""
    shown: bool
    """Whether there is a picture."""

    @property
    def number(self) -> int:
        """The number of the placeholder question."""
        return int(re.findall(r"question (\d+)", self.text)[-1])


class Told(NamedTuple):
    """A reply."""

    text: str
    finish: str = "stop"
    status: int = 200


Rule = Callable[[Asked], Told]


class PlantedServer:
    """Answers every model's requests by one rule, which may be changed, and notes what was asked."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.asked: list[Asked] = []
        self.url = ""

    @contextmanager
    def running(self) -> Iterator["PlantedServer"]:
        """Serves until the block ends."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        runner = asyncio.run_coroutine_threadsafe(self._start(), loop).result()
        try:
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    async def _start(self) -> web.AppRunner:
        application = web.Application(client_max_size=2**24)
        application.router.add_post("/v1/chat/completions", self._answer)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        return runner

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        parts: list[str] = []
        shown = False
        for turn in body["messages"]:
            content = turn["content"]
            for part in [{"text": content}] if isinstance(content, str) else content:
                parts.append(part.get("text", ""))
                shown |= "image_url" in part
        asked = Asked(body["model"], "\n".join(parts), shown)
        self.asked.append(asked)
        told = self.rule(asked)
        if told.status != 200:
            return web.json_response({"error": {"message": "placeholder trouble"}}, status=told.status)
        message = {"role": "assistant", "content": told.text}
        choice = {"index": 0, "message": message, "finish_reason": told.finish}
        named = {"id": "planted", "object": "chat.completion", "created": 0, "model": asked.model}
        return web.json_response(named | {"choices": [choice]})
