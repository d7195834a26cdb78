"""Slots for requests in flight, as many as a limit says that changes while they are in use."""

import asyncio
from types import TracebackType

from spavl.execution.pace import InFlightLimit


class Slots:
    """An asynchronous context; inside it are never more tasks than `limit.now` said when the last one entered.

    Args:
        limit: How many there are.
    """

    def __init__(self, limit: InFlightLimit) -> None:
        self._limit = limit
        self._taken = 0
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._taken < self._limit.now)
            self._taken += 1

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        async with self._changed:
            self._taken -= 1
            self._changed.notify(max(0, self._limit.now - self._taken))
