"""An order in which leaves take turns, and within a leaf its pictures, so that any beginning of it is spread evenly."""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.intp]


class Turn(NamedTuple):
    """What decides an item's place."""

    id: str
    leaf: str
    image_id: str


def in_turn(items: Iterable[Turn], seed: int) -> list[str]:
    """Returns the ids in order: the first items of all leaves, then second ones; a seeded hash decides between equals.

    The order of `items` does not matter.
    """
    ids: list[str] = []
    hashes = bytearray()
    leaves: dict[str, int] = {}
    pictures: dict[str, int] = {}
    groups: list[tuple[int, int]] = []
    for item in items:
        ids.append(item.id)
        hashes += hashlib.sha256(f"{seed}/{item.id}".encode()).digest()
        groups.append((leaves.setdefault(item.leaf, len(leaves)), pictures.setdefault(item.image_id, len(pictures))))
    by_hash = np.argsort(np.frombuffer(bytes(hashes), "S32"), kind="stable")
    leaf, picture = np.array(groups, np.intp).reshape(-1, 2)[by_hash].T
    by_picture = np.argsort(_number_within(picture), kind="stable")
    within_leaf = np.empty(len(ids), np.intp)
    within_leaf[by_picture] = _number_within(leaf[by_picture])
    return [ids[place] for place in by_hash[np.argsort(within_leaf, kind="stable")].tolist()]


def _number_within(groups: Numbers) -> Numbers:
    """Returns how many of an item's group came before it."""
    together = np.argsort(groups, kind="stable")
    sizes = np.bincount(groups)
    number = np.empty(len(groups), np.intp)
    number[together] = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return number
