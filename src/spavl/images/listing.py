"""What a source lists, kept in a file while pictures are collected: of a candidate 8 bytes lie in memory."""

import json
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from spavl.execution import LazyItems
from spavl.images.candidates import Candidate
from spavl.records import Failure
from spavl.store import Scratch


class Listing(Collection[Candidate]):
    """Candidates by their number, in the source's order.

    Args:
        candidates: What the source lists; it is gone through once.
        folder: Where the file lies.

    Raises:
        UserError: The source is wrong or empty.
        RunError: The disk is full.
    """

    def __init__(self, candidates: Iterable[Candidate], folder: Path) -> None:
        self._lines = Scratch(folder)
        try:
            for candidate in candidates:
                self._lines.add(_to_line(candidate))
        except BaseException:  # an error holds the frames it passed, and so the file
            self.close()
            raise

    def __len__(self) -> int:
        """Returns how many there are."""
        return len(self._lines)

    def __getitem__(self, index: int) -> Candidate:
        """Reads one."""
        return _from_line(self._lines[index])

    def __iter__(self) -> Iterator[Candidate]:
        """Reads all of them, one after the other."""
        return (self[index] for index in range(len(self)))

    def __contains__(self, candidate: object) -> bool:
        """Says whether one is there; all are read for it."""
        return any(one == candidate for one in self)

    def close(self) -> None:
        """Lets the file go."""
        self._lines.close()

    def items(self) -> Collection[str]:
        """Returns the station's item ids."""
        return LazyItems(len(self), lambda: (one.item for one in self), lambda item: item)


def _to_line(candidate: Candidate) -> bytes:
    refused = candidate.refused.model_dump(mode="json") if candidate.refused is not None else None
    fields = candidate._replace(path=str(candidate.path), columns=dict(candidate.columns), refused=refused)  # type: ignore[arg-type]  # as JSON has them
    return json.dumps(fields).encode()


def _from_line(line: bytes) -> Candidate:
    read = Candidate(*json.loads(line))
    return read._replace(
        path=Path(read.path),
        synonyms=tuple(read.synonyms),
        refused=Failure.model_validate(read.refused) if read.refused is not None else None,
        at=(read.at[0], read.at[1]),
    )
