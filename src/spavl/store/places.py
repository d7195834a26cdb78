"""A compact table from names to numbers: where an item's line begins, say. 16 bytes a name, however long it is."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

_FRESH = 1 << 15
"""Names in a dictionary before they are sorted in among the others."""
_GONE = -1


class Places:
    """Name -> a number that is not negative.

    Of a name only Python's 64-bit hash is kept. Who reads a line at its place compares the name that stands there, so
    two names of one hash (one chance in ten million among a million names) are noticed and never mixed up.

    Args:
        entries: (name, number) to begin with.
    """

    def __init__(self, entries: Iterable[tuple[str, int]] = ()) -> None:
        self._hashes = np.empty(0, np.int64)  # sorted
        self._numbers = np.empty(0, np.int64)
        self._sorted = _as_integers(self._hashes)
        self._fresh: dict[int, int] = {}
        self._count = 0
        for name, number in entries:
            self.put(name, number)

    def __len__(self) -> int:
        """Returns how many names there are."""
        return self._count

    def __contains__(self, name: str) -> bool:
        """Says whether a name is there."""
        return self.get(name) is not None

    def get(self, name: str) -> int | None:
        """Returns a name's number, or None."""
        key = hash(name)
        number = self._fresh.get(key, _GONE)
        if number == _GONE:
            where = self._where(key)
            number = _GONE if where is None else int(self._numbers[where])
        return None if number == _GONE else number

    def put(self, name: str, number: int) -> None:
        """Sets a name's number."""
        self._count += name not in self
        self._set(hash(name), number)

    def drop(self, name: str) -> None:
        """Forgets a name, if it is there."""
        if name in self:
            self._count -= 1
            self._set(hash(name), _GONE)

    def in_order(self) -> Iterator[int]:
        """Yields the numbers, the smallest first."""
        self._settle()
        yield from _as_integers(np.sort(self._numbers[self._numbers != _GONE]))

    def _where(self, key: int) -> int | None:
        where = bisect_left(self._sorted, key)
        return where if where < len(self._sorted) and self._sorted[where] == key else None

    def _set(self, key: int, number: int) -> None:
        where = self._where(key)
        if where is not None:
            self._numbers[where] = number
            return
        self._fresh[key] = number
        if len(self._fresh) > max(_FRESH, len(self._hashes) // 8):
            self._settle()

    def _settle(self) -> None:
        """Sorts the fresh names in among the others."""
        if self._fresh:
            hashes = np.fromiter(self._fresh, np.int64, len(self._fresh))
            numbers = np.fromiter(self._fresh.values(), np.int64, len(self._fresh))
            order = np.argsort(hashes)
            where = np.searchsorted(self._hashes, hashes[order])
            self._hashes = np.insert(self._hashes, where, hashes[order])
            self._numbers = np.insert(self._numbers, where, numbers[order])
            self._sorted = _as_integers(self._hashes)
            self._fresh = {}


def _as_integers(column: npt.NDArray[np.int64]) -> Sequence[int]:
    """Returns a view whose entries are Python's integers, which are compared faster than numpy's."""
    return memoryview(column.data)
