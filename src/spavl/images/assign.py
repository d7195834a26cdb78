"""Decides which picture is taken for which leaf: keywords are compared with captions, then leaves take turns.

It opens no picture: whoever calls `assign` says of each picture that is about to be taken whether it could be.
"""

import heapq
from array import array
from collections.abc import Awaitable, Callable, Container, MutableSequence, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Encode = Callable[[Sequence[str]], npt.NDArray[np.float32]]
"""Turns N texts into N vectors of length one whose dot product says how alike the texts are."""
Expect = Callable[[Sequence[int]], None]
"""Hears which pictures are likely to be offered soon."""
Take = Callable[[int, int], Awaitable[bool]]
"""Takes (leaf, picture) and says whether the picture could be taken."""

AHEAD = 32
"""Most pictures of one leaf that are expected at a time."""
DECIMALS = 5
"""Similarities are rounded, so that an encoder's last bits do not decide between two pictures."""


class Affinity(NamedTuple):
    """How near each of N pictures is to each of L leaves."""

    similarity: npt.NDArray[np.float64]
    """(L, N): the greatest cosine similarity of the picture's caption with one of the leaf's keywords."""
    keyword: npt.NDArray[np.intp]
    """(L, N): which of the leaf's keywords that is."""


def affinity(keywords: Sequence[Sequence[str]], captions: Sequence[str], encode: Encode) -> Affinity:
    """Compares every caption with the keywords of every leaf."""
    caption_vectors = encode(list(captions)).T  # (D, N)
    similarity = np.empty((len(keywords), len(captions)))
    nearest = np.empty(similarity.shape, dtype=np.intp)
    for leaf, words in enumerate(keywords):
        products = np.round((encode(list(words)) @ caption_vectors).astype(np.float64), DECIMALS)  # (keywords, N)
        nearest[leaf], similarity[leaf] = products.argmax(axis=0), products.max(axis=0)
    return Affinity(similarity, nearest)


async def assign(
    similarity: npt.NDArray[np.float64],
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
        similarity: (L, N).
        quotas: Pictures of each leaf.
        least: Least similarity.
        take: Says whether the picture could be taken.
        expect: Hears of a leaf's next pictures, no more than the leaf still lacks, so that none is fetched in vain.
    """
    ranked = [_similar_enough(row, least) for row in similarity]
    offered: set[int] = set()

    def best_left(leaf: int) -> list[tuple[float, int, int]]:
        ranking = ranked[leaf]
        while ranking and ranking[-1] in offered:
            ranking.pop()
        return [(-similarity[leaf, ranking[-1]], leaf, ranking[-1])] if ranking else []

    for taken_before in range(max(quotas, default=0)):
        lacking = {leaf: quota - taken_before for leaf, quota in enumerate(quotas) if quota > taken_before}
        expect([picture for leaf, lacks in lacking.items() for picture in _soon(ranked[leaf], offered, lacks)])
        waiting = [best for leaf in lacking for best in best_left(leaf)]
        heapq.heapify(waiting)
        while waiting:
            _, leaf, picture = heapq.heappop(waiting)
            taken = False
            if picture not in offered:
                offered.add(picture)
                taken = await take(leaf, picture)
            if not taken:
                expect(_soon(ranked[leaf], offered, lacking[leaf]))
                for best in best_left(leaf):
                    heapq.heappush(waiting, best)


def _soon(ranking: Sequence[int], offered: Container[int], lacking: int) -> list[int]:
    """Returns the next pictures of a leaf's ranking that no leaf was offered, the best first."""
    left = (picture for picture in reversed(ranking) if picture not in offered)
    return list(islice(left, min(lacking, AHEAD)))


def _similar_enough(row: npt.NDArray[np.float64], least: float) -> MutableSequence[int]:
    """Returns the pictures of at least this similarity, the most similar (and of equals the first) last."""
    order = np.argsort(-row, kind="stable")
    return array("i", order[row[order] >= least][::-1].astype(np.intc).tobytes())
