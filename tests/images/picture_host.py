"""A host of pictures on loopback that answers each path from a script and notes what it was asked."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import NamedTuple

from aiohttp import web


class Reply(NamedTuple):
    """One reply of the script."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = MappingProxyType({})
    after_s: float = 0.0
    drip_s: float = 0.0
    """Seconds between two bytes of the body, for a host that never comes to an end."""


class PictureHost:
    """Gives the replies of a path in order, the last one again and again; 404 for other paths.

    Args:
        pages: Path -> replies.
    """

    def __init__(self, pages: Mapping[str, Reply | list[Reply]]) -> None:
        self.pages = {path: replies if isinstance(replies, list) else [replies] for path, replies in pages.items()}
        self.asked: Counter[str] = Counter()
        self.headers: list[dict[str, str]] = []
        self.in_flight = 0
        self.most_in_flight = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Yields the host's address."""
        application = web.Application()
        application.router.add_get("/{path:.*}", self._answer)
        runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path_qs
        replies = self.pages.get(path, [Reply(status=404)])
        reply = replies[min(self.asked[path], len(replies) - 1)]
        self.asked[path] += 1
        self.headers.append(dict(request.headers))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(reply.after_s)
            if not reply.drip_s:
                return web.Response(status=reply.status, body=reply.body, headers=reply.headers)
            response = web.StreamResponse(status=reply.status, headers=reply.headers)
            await response.prepare(request)
            for byte in reply.body:
                await response.write(bytes([byte]))
                await asyncio.sleep(reply.drip_s)
            return response
        finally:
            self.in_flight -= 1
