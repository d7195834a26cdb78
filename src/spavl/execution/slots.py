"""Slots for requests in flight, as many as a limit says that changes while they are in use."""

import asyncio
from collections import deque
from types import TracebackType

from spavl.execution.pace import InFlightLimit


class Slots:
    """An asynchronous context; inside it are never more tasks than `limit.now` said when the last one entered.

    Those that wait enter in the order in which they came.

    Args:
        limit: How many there are.
    """

    def __init__(self, limit: InFlightLimit) -> None:
        self._limit = limit
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def __aenter__(self) -> None:
        if not self._waiting and self._taken < self._limit.now:
            self._taken += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn  # who wakes it has taken the slot for it
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._free()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._free()

    def _free(self) -> None:
        self._taken -= 1
        while self._waiting and self._taken < self._limit.now:
            turn = self._waiting.popleft()
            if not turn.done():
                self._taken += 1
                turn.set_result(None)
