"""Lists of pictures that people write: those that never enter, and explicit ones that may; an id or SHA-256 a line."""

import re
from pathlib import Path

from spavl.errors import UserError
from spavl.records import ImageRecord, content_id

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
