"""What a picture looks like, in numbers that survive scaling, re-encoding, mirroring, and cutting a tenth off.

A picture's perceptual hash hardly changes when it is scaled or re-encoded, but it does when a margin is cut off. So the
parts that such a cut leaves are hashed too, of the picture and of its mirror image; a copy's hash is near one of them.
It finds no copy that was turned, drawn over, or cut by much more than a tenth of a side.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spavl.store.images import HASHED_SIDE, DecodeLimits, decode, hash_greys
from spavl.store.near import Hashes, near_pairs

DECODED_SIDE = 256
GREY_SIDE = 160
KEPT = 0.9
"""Share of a side that a cut leaves."""
_SPANS = ((0.0, 1.0), *((start / 30, start / 30 + KEPT) for start in range(4)))
PARTS = tuple((left, top, right, bottom) for left, right in _SPANS for top, bottom in _SPANS)
"""(left, top, right, bottom) as shares of the sides: the whole, and 24 parts that lack a tenth in one or both."""

_BOXES = tuple(
    (GREY_SIDE * left, GREY_SIDE * top, GREY_SIDE * right, GREY_SIDE * bottom) for left, top, right, bottom in PARTS
)


class Lookalikes(NamedTuple):
    """Pairs (P,) of pictures of two lists that look alike, in order."""

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    bits: NDArray[np.uint8]
    """In how many bits the nearest of their hashes differ."""


def fingerprint(content: bytes) -> Hashes:
    """Returns the hashes of a picture's parts (25,), and behind them those of its mirror image (25,).

    Raises:
        UnreadableImage: The bytes are no picture, or are damaged.
    """
    limits = DecodeLimits(min_side=1, stored_side=DECODED_SIDE)
    grey = decode(content, limits).convert("L").resize((GREY_SIDE, GREY_SIDE), Image.Resampling.BILINEAR)
    square = (HASHED_SIDE, HASHED_SIDE)
    parts = np.stack([np.asarray(grey.resize(square, Image.Resampling.BILINEAR, box=box)) for box in _BOXES])
    return hash_greys(np.concatenate([parts, parts[:, :, ::-1]]))


def find_lookalikes(left: Hashes, right: Hashes, bits: int) -> Lookalikes:
    """Returns the pairs of which one looks like the other, its mirror image, or either without a margin.

    A picture of one colour has no looks to compare; its hash is 0, and it is in no pair.

    Args:
        left: Fingerprints (N, 50).
        right: Fingerprints (M, 50).
        bits: Two hashes are near when they differ in at most this many bits.
    """
    parts = len(PARTS)
    wholes = near_pairs(left[:, 0], right.reshape(-1), bits)
    cuts = near_pairs(left[:, 1:parts].reshape(-1), right[:, [0, parts]].reshape(-1), bits)
    rows = np.concatenate([wholes.left, cuts.left // (parts - 1)]).astype(np.int64)
    columns = np.concatenate([wholes.right // (2 * parts), cuts.right // 2]).astype(np.int64)
    distances = np.concatenate([wholes.bits, cuts.bits])
    keep = (left[rows, 0] != 0) & (right[columns, 0] != 0)
    rows, columns, distances = rows[keep], columns[keep], distances[keep]
    order = np.lexsort((distances, columns, rows))
    rows, columns, distances = rows[order], columns[order], distances[order]
    first = np.ones(len(rows), dtype=bool)
    first[1:] = (rows[1:] != rows[:-1]) | (columns[1:] != columns[:-1])
    return Lookalikes(rows[first], columns[first], distances[first])
