"""From the fields of a benchmark's row to what can be asked, or to why it cannot."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spavl.evaluate.benchmarks.base import Listed, Unusable
from spavl.records import Failure
from spavl.texts.visible import whole


def text(row: Mapping[str, Any], *fields: str) -> str:
    """Returns what the first of some fields that is filled says, without blanks around it; empty where none is."""
    said = (str(row[field]).strip() for field in fields if row.get(field) is not None)
    return next((one for one in said if one), "")


def asked(row: Listed) -> Listed | Unusable:
    """Returns the row, or why it cannot be asked: it has no question."""
    if not row.prompt:
        return Unusable(row.row, Failure(reason="no_question", message="the row has no question"))
    return row


def shown(row: Listed, picture: Path | bytes | None, called: str) -> Listed | Unusable:
    """Returns the row with its picture, or why it cannot be asked.

    Args:
        row: The row without its picture.
        picture: The picture; None where it is not there.
        called: The picture's name, for the message.
    """
    if picture is None:
        return Unusable(row.row, Failure(reason="missing_picture", message=f"{called} is not there"))
    return asked(row._replace(picture=picture))


def writable(row: Listed | Unusable) -> Listed | Unusable:
    """Returns the row, or why it cannot be asked: half a character in its texts, which can be sent to nobody."""
    name = whole(row.row)
    if isinstance(row, Unusable):
        message = whole(row.failure.message)
        return Unusable(name, row.failure.model_copy(update={"message": message}))
    said = (row.row, row.prompt, row.subset, row.category, row.cluster, row.note, *row.references, *row.choices)
    broken = next((one for one in said if one != whole(one)), None)
    if broken is None:
        return row
    return Unusable(name, Failure(reason="broken_text", message=f"half a character stands in {whole(broken)[:100]!r}"))


def file_in(folder: Path, *places: str) -> Path | None:
    """Returns the first of some places that is a file inside the folder; it may be a link, as in the hub's cache."""
    for place in places:
        try:
            path = folder / place
            if ".." not in path.relative_to(folder).parts and path.is_file():
                return path
        except (OSError, ValueError):
            continue  # another root, or no name that a file could have
    return None


def held_picture(cell: object) -> bytes | None:
    """Returns the picture that a Parquet cell holds, as the hub's library writes it: `{bytes, path}`."""
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    return content if isinstance(content, bytes) and content else None
