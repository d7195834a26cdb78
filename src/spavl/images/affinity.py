"""How near each picture of a source is to each leaf: keywords are compared with captions.

A million pictures and fifty leaves are fifty million similarities. They lie in a file without a name; in memory is the
leaf that each picture is nearest to.
"""

import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spavl.store.files import disk_errors_named

Encode = Callable[[Sequence[str]], npt.NDArray[np.float32]]
"""Turns N texts into N vectors of length one whose dot product says how alike the texts are."""

SCALE = 100_000
"""Similarities are kept in units of 1 / SCALE, so that an encoder's last bits do not decide between two pictures."""
CAPTIONS_AT_ONCE = 1_024
READ_AT_ONCE = 1 << 16


class Affinity:
    """The similarities of N pictures and L leaves: the greatest of the caption with one of the leaf's keywords.

    Args:
        leaves: L.
        pictures: N.
        folder: Where the file lies.

    Raises:
        RunError: The disk is full.
    """

    def __init__(self, leaves: int, pictures: int, folder: Path) -> None:
        self.pictures = pictures
        self._similarities = _Table(leaves, pictures, np.dtype(np.int32), folder)
        self._keywords = _Table(leaves, pictures, np.dtype(np.uint16), folder)
        self._nearest = np.zeros(pictures, np.uint16)  # (N,) leaves
        self._greatest = np.zeros(pictures, np.int32)  # (N,)

    def put(self, start: int, similarity: npt.NDArray[np.int32], keyword: npt.NDArray[np.uint16]) -> None:
        """Notes the next pictures, of which `start` is the first.

        Args:
            start: Number of pictures before.
            similarity: (L, B), in units of 1 / SCALE.
            keyword: (L, B), which of a leaf's keywords is the nearest.

        Raises:
            RunError: The disk is full.
        """
        self._similarities.put(start, similarity)
        self._keywords.put(start, keyword)
        end = start + similarity.shape[1]
        self._nearest[start:end] = similarity.argmax(axis=0)  # (B,), the first of equals
        self._greatest[start:end] = similarity.max(axis=0)

    def close(self) -> None:
        """Lets the files go; of the numbers in them none can be read after that."""
        self._similarities.close()
        self._keywords.close()

    def similarity(self, leaf: int, picture: int) -> float:
        """Returns how near a picture is to a leaf."""
        return int(self._similarities.row(leaf, picture, 1)[0]) / SCALE

    def keyword(self, leaf: int, picture: int) -> int:
        """Returns which of the leaf's keywords is nearest to a picture."""
        return int(self._keywords.row(leaf, picture, 1)[0])

    def nearest_leaf(self, picture: int) -> tuple[int, float]:
        """Returns the leaf that a picture is nearest to, and how near."""
        return int(self._nearest[picture]), int(self._greatest[picture]) / SCALE

    def nearest(self, leaf: int, least: float, offered: npt.NDArray[np.bool_], count: int) -> list[int]:
        """Returns the pictures nearest to a leaf, the nearest (and of equals the first) first.

        Args:
            leaf: The leaf.
            least: Least similarity.
            offered: (N,), True for pictures that are passed over.
            count: How many.
        """
        best = np.empty(0, np.int64)
        for start in range(0, self.pictures, READ_AT_ONCE):
            row = self._similarities.row(leaf, start, min(READ_AT_ONCE, self.pictures - start))
            fit = np.flatnonzero((row / SCALE >= least) & ~offered[start : start + len(row)])
            keys = (-row[fit].astype(np.int64) << 32) | (fit + start)  # ordered by similarity, then by picture
            best = np.concatenate([best, keys])
            if len(best) > count:
                best = np.partition(best, count)[:count]
        pictures: list[int] = (np.sort(best) & 0xFFFFFFFF).tolist()
        return pictures


def affinity(
    keywords: Sequence[Sequence[str]], captions: Iterable[str], count: int, encode: Encode, folder: Path
) -> Affinity:
    """Compares every caption with the keywords of every leaf, some captions at a time.

    Args:
        keywords: Of each leaf.
        captions: Of the pictures.
        count: How many pictures there are.
        encode: Turns texts into vectors.
        folder: Where the similarities lie meanwhile.

    Raises:
        RunError: The disk is full.
    """
    found = Affinity(len(keywords), count, folder)
    try:
        _fill(found, keywords, captions, encode)
    except BaseException:  # an error holds the frames it passed, and so the files
        found.close()
        raise
    return found


def _fill(found: Affinity, keywords: Sequence[Sequence[str]], captions: Iterable[str], encode: Encode) -> None:
    vectors = [encode(list(words)) for words in keywords]  # (keywords of the leaf, D) each
    rest, start = iter(captions), 0
    while some := list(islice(rest, CAPTIONS_AT_ONCE)):
        caption_vectors = encode(some).T  # (D, B)
        products = [np.rint((words @ caption_vectors).astype(np.float64) * SCALE).astype(np.int32) for words in vectors]
        similarity = np.stack([one.max(axis=0) for one in products])  # (L, B)
        keyword = np.stack([one.argmax(axis=0).astype(np.uint16) for one in products])  # (L, B)
        found.put(start, similarity, keyword)
        start += len(some)


class _Table:
    """Numbers in rows and columns, on disk."""

    def __init__(self, rows: int, columns: int, kind: np.dtype[Any], folder: Path) -> None:
        self._columns, self._kind, self._folder = columns, kind, folder
        with disk_errors_named(folder):
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115  # it lives as long as we
            os.truncate(self._file.fileno(), rows * columns * kind.itemsize)

    def put(self, start: int, block: npt.NDArray[Any]) -> None:
        """Writes some columns of every row."""
        with disk_errors_named(self._folder):
            for row, values in enumerate(block):
                left = memoryview(values.astype(self._kind).tobytes())
                place = self._place(row, start)
                while left:
                    written = os.pwrite(self._file.fileno(), left, place)
                    left, place = left[written:], place + written

    def row(self, row: int, start: int, count: int) -> npt.NDArray[Any]:
        """Reads some of a row."""
        content = os.pread(self._file.fileno(), count * self._kind.itemsize, self._place(row, start))
        return np.frombuffer(content, self._kind)

    def close(self) -> None:
        self._file.close()

    def _place(self, row: int, column: int) -> int:
        return (row * self._columns + column) * self._kind.itemsize
