"""A dataset's different pictures and texts, each once, with the rows that have it: what datasets are compared by."""

import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from spavl.dataset.fingerprints import PARTS, fingerprint
from spavl.dataset.shown import Shown
from spavl.store import UnreadableImage
from spavl.store.near import Hashes
from spavl.store.near_vectors import Vectors

ROWS_AT_ONCE = 256
Embed = Callable[[Sequence[bytes]], Vectors]
"""Turns pictures' files into unit vectors, zeros where one cannot be read."""


class Gallery(NamedTuple):
    """What a dataset shows and asks."""

    rows: int
    pictures: list[str]
    """SHA-256 of each different file."""
    looks: Hashes
    """(pictures, 50) fingerprints; 0 where a picture cannot be read, so that it looks like none."""
    unreadable: int
    picture_rows: list[list[str]]
    """Rows that have the picture."""
    texts: list[str]
    text_rows: list[list[str]]
    """Rows that ask the text."""
    vectors: Vectors | None = None
    """(pictures, D) unit vectors; None where no encoder was given."""


def gather(shown: Iterable[Shown], embed: Embed | None = None) -> Gallery:
    """Reads all rows; pictures are decoded in several threads, each different file once."""
    pictures: dict[str, list[str]] = {}
    texts: dict[str, list[str]] = {}
    looks: list[Hashes] = []
    vectors: list[Vectors] = []
    rows = unreadable = 0
    waiting = iter(shown)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while lot := list(itertools.islice(waiting, ROWS_AT_ONCE)):
            rows += len(lot)
            fresh: list[bytes] = []
            for row in lot:
                if row.text.strip():
                    texts.setdefault(row.text, []).append(row.id)
                for content in row.pictures:
                    digest = hashlib.sha256(content).hexdigest()
                    if digest not in pictures:
                        fresh.append(content)
                    pictures.setdefault(digest, []).append(row.id)
            made = list(pool.map(_looks, fresh))
            if embed is not None and fresh:
                vectors.append(embed(fresh))
            unreadable += sum(one is None for one in made)
            looks += [np.zeros(2 * len(PARTS), dtype=np.uint64) if one is None else one for one in made]
    stacked = np.stack(looks) if looks else np.zeros((0, 2 * len(PARTS)), dtype=np.uint64)
    return Gallery(
        rows,
        list(pictures),
        stacked,
        unreadable,
        list(pictures.values()),
        list(texts),
        list(texts.values()),
        np.concatenate(vectors) if vectors else None,
    )


def _looks(content: bytes) -> Hashes | None:
    try:
        return fingerprint(content)
    except UnreadableImage:
        return None
