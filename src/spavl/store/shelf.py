"""A stage's outcomes by name, read from its file when they are asked for; in memory lie only their places.

Whoever needs upstream records by their ids, and in their order, takes a shelf where a dictionary of all of them would
grow with the run.
"""

import os
import weakref
from collections.abc import Callable, Iterator, Mapping, ValuesView
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from spavl.records import Failure, Record
from spavl.store.outcome import Body, read_body
from spavl.store.places import Places

T = TypeVar("T")
R = TypeVar("R", bound=Record)
LATELY_READ = 256
"""Outcomes that are kept, since neighbours ask for the same."""
_AT_ONCE = 2048
"""Bytes that are read of a line first."""


class Shelf(Mapping[str, T]):
    """Name -> what stands in a line; in the order of the file, the first of several lines of one name.

    Args:
        path: The `results.jsonl` of a stage; it must not change while the shelf is in use.
        name: Names a line; None leaves it out.
        read: Makes of a line what is asked for.
    """

    def __init__(self, path: Path, name: Callable[[Body], str | None], read: Callable[[Body], T]) -> None:
        self._path, self._name, self._read = path, name, read
        self._places = Places()
        self._file: int | None = None
        self._lately = lru_cache(LATELY_READ)(self._find)
        for place, body in self._bodies():
            named = name(body)
            if named is not None and named not in self._places:
                self._places.put(named, place)

    def __getitem__(self, name: str) -> T:
        """Reads the line of that name."""
        return self._lately(name)

    def __contains__(self, name: object) -> bool:
        """Says whether there is a line of that name; it is not read."""
        return isinstance(name, str) and name in self._places

    def __len__(self) -> int:
        """Returns how many names there are."""
        return len(self._places)

    def __iter__(self) -> Iterator[str]:
        """Yields the names."""
        return (name for name, _ in self._named())

    def lines(self) -> Iterator[str]:
        """Yields the name of each line that has one, also where an earlier line has the same."""
        return (name for _, body in self._bodies() if (name := self._name(body)) is not None)

    def values(self) -> ValuesView[T]:
        """Returns what stands in the lines; the file is read once from its beginning to its end."""
        return _Values(self)

    def each(self) -> Iterator[T]:
        """Yields what stands in the lines."""
        return (self._read(body) for _, body in self._named())

    def _named(self) -> Iterator[tuple[str, Body]]:
        for place, body in self._bodies():
            name = self._name(body)
            if name is not None and self._places.get(name) == place:
                yield name, body

    def _bodies(self) -> Iterator[tuple[int, Body]]:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            place = 0
            for line in file:
                yield place, read_body(line)
                place += len(line)

    def _find(self, name: str) -> T:
        place = self._places.get(name)
        if place is not None:
            body = read_body(self._line(place))
            if self._name(body) == name:
                return self._read(body)
        raise KeyError(name)

    def _line(self, place: int) -> bytes:
        if self._file is None:
            self._file = os.open(self._path, os.O_RDONLY)
            weakref.finalize(self, os.close, self._file)
        size = _AT_ONCE
        while True:
            line, end, _ = os.pread(self._file, size, place).partition(b"\n")
            if end or len(line) < size:
                return line
            size *= 8


class _Values(ValuesView[T]):
    def __init__(self, shelf: Shelf[T]) -> None:
        super().__init__(shelf)
        self._shelf = shelf

    def __iter__(self) -> Iterator[T]:
        return self._shelf.each()


def record_shelf(path: Path, kind: type[R], by: str = "id", keep: Callable[[Body], bool] = lambda _: True) -> Shelf[R]:
    """Returns the records of a stage by one of their fields.

    Args:
        path: The stage's `results.jsonl`.
        kind: What the records are.
        by: The field that names them.
        keep: Says of a record, as JSON, whether it is wanted.
    """

    def name(body: Body) -> str | None:
        record = body["record"]
        return str(record[by]) if record is not None and keep(record) else None

    return Shelf(path, name, lambda body: kind.model_validate(body["record"]))


def outcome_shelf(path: Path, kind: type[R]) -> Shelf[R | Failure]:
    """Returns the outcomes of a stage by their items: records, and failures where there is none."""

    def read(body: Body) -> R | Failure:
        if body["record"] is None:
            return Failure.model_validate(body["failure"])
        return kind.model_validate(body["record"])

    return Shelf(path, lambda body: str(body["item"]), read)
