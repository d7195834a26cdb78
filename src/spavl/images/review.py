"""Explicit pictures wait for people: they are kept apart and listed, until someone lets them in by the released list.

`needs_review.jsonl` in the stage's folder has a line a picture: its image id (what the released list takes), where it
lies below that folder, its score, and what its source says of it.
"""

import json
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from spavl.image_config import ExplicitConfig
from spavl.images.examine import DECIMALS, opened_picture
from spavl.images.removal import PictureList
from spavl.images.sources import Opened
from spavl.models import open_picture_classifier
from spavl.records import Failure, ImageRecord
from spavl.store import ImageStore
from spavl.store.files import append_whole, disk_errors_named, write_atomically
from spavl.store.images import ReadImage

NEEDS_REVIEW = "needs_review"
"""The reason of those that wait, the folder where they lie, and the name of their list."""


class ExplicitGate:
    """Says of a picture how explicit it is, and whether people have to see it first.

    Args:
        config: The classifier; without one every picture passes.
        released: What people let in.

    Raises:
        UserError: The classifier cannot be opened.
    """

    def __init__(self, config: ExplicitConfig | None, released: PictureList) -> None:
        self._classifier = open_picture_classifier(config) if config is not None else None
        self._threshold = config.threshold if config is not None else None
        self._released = released

    def score(self, opened: Opened) -> float | None:
        """Returns how probably a picture is explicit; None without a classifier."""
        if self._classifier is None:
            return None
        return round(self._classifier.score(opened_picture(opened.read.content)), DECIMALS)

    def holds_back(self, opened: Opened, score: float | None) -> bool:
        """Says whether a picture of this score waits for people."""
        if self._threshold is None or score is None or score < self._threshold:
            return False
        return not self._released.has(opened.original.original_sha256, opened.read.stored.sha256)


class Waiting(NamedTuple):
    """A picture that waits for people."""

    id: str
    item: str
    path: Path
    original_sha256: str | None
    url: str | None

    @property
    def names(self) -> frozenset[str]:
        """What it can be asked for by: its id, and the SHA-256 of its stored and its original file."""
        return frozenset(filter(None, (self.id, self.path.stem, self.original_sha256)))


class WaitingList:
    """The pictures of one collection that wait for people.

    Args:
        folder: The stage's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"{NEEDS_REVIEW}.jsonl"
        self._store = ImageStore(folder / NEEDS_REVIEW)

    def add(self, read: ReadImage, record: ImageRecord) -> Failure:
        """Keeps a picture apart, and lists it.

        Raises:
            RunError: The disk is full.
        """
        self._store.keep(read)
        line = {
            "id": record.id,
            "path": self._store.path(record.sha256, record.format).relative_to(self.path.parent).as_posix(),
            "score": record.explicit_score,
            "item": f"{record.source}/{record.source_name}",
            **record.model_dump(include={"original_sha256", "url", "caption", "licence", "leaf"}),
        }
        append_whole(self.path, json.dumps(line, ensure_ascii=False).encode() + b"\n")
        message = f"{record.source_name}: {record.id} may be explicit ({record.explicit_score}); people look first"
        return Failure(reason=NEEDS_REVIEW, message=message, dropped=True)

    def pictures(self) -> list[Waiting]:
        """Returns those that are on the list."""
        listed = [body for body, _ in self._lines()]
        return [
            Waiting(one["id"], one["item"], self.path.parent / one["path"], one["original_sha256"], one["url"])
            for one in listed
        ]

    def forget(self, ids: Collection[str]) -> int:
        """Takes pictures off the list and removes their files; returns how many there were.

        Raises:
            RunError: The disk is full.
        """
        gone = [one for one in self.pictures() if one.id in ids]
        for one in gone:
            with disk_errors_named(one.path):
                one.path.unlink(missing_ok=True)
        if gone:
            write_atomically(self.path, b"".join(line for body, line in self._lines() if body["id"] not in ids))
        return len({one.id for one in gone})

    def finish(self, failures: Iterable[tuple[str, Failure]]) -> int:
        """Leaves in the list each picture that waits once, and returns how many those are.

        Lines that stand twice, that are torn, or whose picture was decided anew come from interruptions.

        Args:
            failures: (item, failure), of the whole collection.
        """
        waiting = {item for item, failure in failures if failure.reason == NEEDS_REVIEW}
        if self.path.exists():
            lines = {body["item"]: line for body, line in self._lines() if body["item"] in waiting}
            write_atomically(self.path, b"".join(lines.values()))
        return len(waiting)

    def _lines(self) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Yields each whole line, read and as it is; a torn one is none."""
        if not self.path.exists():
            return
        for line in self.path.read_bytes().splitlines(keepends=True):
            try:
                body = json.loads(line)
            except ValueError:
                continue
            yield body, line
