"""An order in which leaves take turns, and within a leaf its pictures, so that any beginning of it is spread evenly."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple


class Turn(NamedTuple):
    """What decides an item's place."""

    id: str
    leaf: str
    image_id: str


def in_turn(items: Sequence[Turn], seed: int) -> list[str]:
    """Returns the ids in order: the first items of all leaves, then second ones; a seeded hash decides between equals.

    The order of `items` does not matter.
    """
    places = {item.id: hashlib.sha256(f"{seed}/{item.id}".encode()).hexdigest() for item in items}
    of_picture: Counter[str] = Counter()
    of_leaf: Counter[str] = Counter()
    within_picture, within_leaf = {}, {}
    for item in sorted(items, key=lambda item: places[item.id]):
        within_picture[item.id] = of_picture[item.image_id]
        of_picture[item.image_id] += 1
    for item in sorted(items, key=lambda item: (within_picture[item.id], places[item.id])):
        within_leaf[item.id] = of_leaf[item.leaf]
        of_leaf[item.leaf] += 1
    return sorted(places, key=lambda id: (within_leaf[id], places[id]))
