"""Decides which picture is taken for which leaf: the nearest first, and leaves take turns.

It opens no picture: whoever calls `assign` says of each picture that is about to be taken whether it could be.
"""

import heapq
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt

from spavl.images.affinity import Affinity

Expect = Callable[[Sequence[int]], None]
"""Hears which pictures are likely to be offered soon."""
Take = Callable[[int, int], Awaitable[bool]]
"""Takes (leaf, picture) and says whether the picture could be taken."""

AHEAD = 32
"""Most pictures of one leaf that are expected at a time."""
WINDOW = 1_024
"""Pictures of one leaf's ranking that are in memory."""


async def assign(
    near: Affinity,
    quotas: Sequence[int],
    least: float,
    take: Take,
    expect: Expect = lambda _: None,
) -> None:
    """Lets the leaves take pictures until each has its quota, or nothing similar enough is left.

    In each round every leaf that lacks some takes one picture, the leaf with the most similar picture first. A picture
    is offered once, to one leaf; a leaf whose picture could not be taken goes on to its next best in the same round.
    Equal similarities are decided by the order of leaves and pictures, so the same input gives the same assignment.

    Args:
        near: How near each picture is to each leaf.
        quotas: Pictures of each leaf.
        least: Least similarity.
        take: Says whether the picture could be taken.
        expect: Hears of a leaf's next pictures, no more than the leaf still lacks, so that none is fetched in vain.
    """
    offered = np.zeros(near.pictures, np.bool_)
    rankings = [_Ranking(near, leaf, least, offered) for leaf in range(len(quotas))]

    def best_left(leaf: int) -> list[tuple[float, int, int]]:
        return [(-near.similarity(leaf, picture), leaf, picture) for picture in rankings[leaf].soon(1)]

    for taken_before in range(max(quotas, default=0)):
        lacking = {leaf: quota - taken_before for leaf, quota in enumerate(quotas) if quota > taken_before}
        expect([picture for leaf, lacks in lacking.items() for picture in rankings[leaf].soon(lacks)])
        waiting = [best for leaf in lacking for best in best_left(leaf)]
        heapq.heapify(waiting)
        while waiting:
            _, leaf, picture = heapq.heappop(waiting)
            taken = False
            if not offered[picture]:
                offered[picture] = True
                taken = await take(leaf, picture)
            if not taken:
                expect(rankings[leaf].soon(lacking[leaf]))
                for best in best_left(leaf):
                    heapq.heappush(waiting, best)


class _Ranking:
    """A leaf's pictures that no leaf was offered, the nearest first; some are in memory at a time.

    Args:
        near: How near each picture is.
        leaf: Whose ranking it is.
        least: Least similarity.
        offered: (N,), True where a picture was offered to a leaf; it changes as pictures are.
    """

    def __init__(self, near: Affinity, leaf: int, least: float, offered: npt.NDArray[np.bool_]) -> None:
        self._near, self._leaf, self._least, self._offered = near, leaf, least, offered
        self._window: deque[int] = deque()
        self._is_last = False

    def soon(self, lacking: int) -> list[int]:
        """Returns the next pictures, as many as the leaf lacks, and no more than `AHEAD`."""
        count = min(lacking, AHEAD)
        found = self._in_window(count)
        if len(found) < count and not self._is_last:
            self._window = deque(self._near.nearest(self._leaf, self._least, self._offered, WINDOW))
            self._is_last = len(self._window) < WINDOW
            found = self._in_window(count)
        return found

    def _in_window(self, count: int) -> list[int]:
        while self._window and self._offered[self._window[0]]:
            self._window.popleft()
        return list(islice((picture for picture in self._window if not self._offered[picture]), count))
