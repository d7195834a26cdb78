"""Lists of pictures that people write: those that never enter, and explicit ones that may; an id or SHA-256 a line."""

import re
from collections.abc import Sequence
from pathlib import Path

from spavl.errors import UserError
from spavl.records import ImageRecord, content_id
from spavl.store.files import write_atomically

OWN_LIST = "removed.txt"
"""The run's own list, which `spavl remove` writes where the configuration names none."""
_ENTRY = re.compile(r"[0-9a-f]{64}|img-[0-9a-f]{16}")


class PictureList:
    """What a list says; it is asked before a picture is stored.

    Args:
        entries: Image ids and digests.
    """

    def __init__(self, entries: frozenset[str] = frozenset()) -> None:
        self.entries = entries

    def has(self, original_sha256: str, stored_sha256: str) -> bool:
        """Says whether a picture is on the list, by its original file, its stored one, or its image id."""
        image_id = content_id(ImageRecord.prefix, stored_sha256)
        return not self.entries.isdisjoint((original_sha256, stored_sha256, image_id))

    def joined(self, other: "PictureList") -> "PictureList":
        """Returns a list of what stands on either."""
        return PictureList(self.entries | other.entries)


def own_list(run: Path) -> Path:
    """Returns where the run's own list lies, if it has one."""
    return run / OWN_LIST


def is_entry(text: str) -> bool:
    """Says whether a text is an image id or a SHA-256."""
    return _ENTRY.fullmatch(text) is not None


def add_to_list(path: Path, entries: Sequence[str]) -> None:
    """Adds to a list what does not stand there yet; a list that is not there is made.

    Raises:
        UserError: The list cannot be read.
        RunError: The disk is full or the list may not be written.
    """
    known = read_picture_list(path, str(path)).entries if path.exists() else frozenset()
    before = path.read_bytes() if path.exists() else b"# Pictures that were taken down; see `spavl remove`.\n"
    new = [entry for entry in entries if entry not in known]
    if new:
        separator = b"" if before.endswith(b"\n") else b"\n"
        write_atomically(path, before + separator + "".join(f"{entry}\n" for entry in new).encode())


def read_picture_list(path: Path | None, field: str) -> PictureList:
    """Reads a list; no path is an empty one.

    Args:
        path: The file.
        field: The configuration's field that names it, for errors.

    Raises:
        UserError: The file cannot be read, or a line is neither an image id nor a SHA-256.
    """
    if path is None:
        return PictureList()
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        cause = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise UserError(f"{field}: {path} cannot be read: {cause}. Give a text file, or leave it out.") from error
    entries = set()
    for number, line in enumerate(lines, 1):
        entry = line.partition("#")[0].strip().lower()
        if entry and not _ENTRY.fullmatch(entry):
            raise UserError(
                f"{field}: {path}, line {number}: {entry[:80]!r} is neither an image id (img- and 16 hex digits) "
                "nor a SHA-256 (64 hex digits). Correct the line, or put a # before it."
            )
        entries.add(entry)
    return PictureList(frozenset(entries - {""}))
