"""A chat-completions server on loopback that answers from a script and notes what it was asked."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson
from aiohttp import web


class Scripted(NamedTuple):
    """One reply of the script."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = MappingProxyType({})
    after_s: float = 0.0


def says(text: str | None, finish: str = "stop", **message: Any) -> Scripted:
    """Returns a well-formed reply: 7 prompt tokens, 3 completion tokens."""
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text, **message}}
    return Scripted(body=orjson.dumps({"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}))


def fails(status: int, message: str = "placeholder trouble", code: str | None = None, **headers: str) -> Scripted:
    """Returns an error in OpenAI's form."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Scripted(status, orjson.dumps({"error": {"message": message, "code": code}}), named)


class ChatServer:
    """Gives the replies in order, and the last one again and again."""

    def __init__(self, *script: Scripted) -> None:
        self.script = script
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.in_flight = 0
        self.most_in_flight = 0

    @asynccontextmanager
    async def running(self, port: int = 0) -> AsyncIterator[str]:
        """Yields the server's base URL."""
        application = web.Application(client_max_size=2**26)
        application.router.add_post("/v1/chat/completions", self._answer)
        runner = web.AppRunner(application, handler_cancellation=True)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", port, reuse_address=True)
            await site.start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            place = len(self.bodies)
            self.headers.append(dict(request.headers))
            self.bodies.append(orjson.loads(await request.read()))
            reply = self.script[min(place, len(self.script) - 1)]
            await asyncio.sleep(reply.after_s)
            return web.Response(status=reply.status, body=reply.body, headers=reply.headers)
        finally:
            self.in_flight -= 1
