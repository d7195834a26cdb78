"""Lists a folder of pictures in the Hugging Face imagefolder layout.

Captions and licences come from `metadata.csv` or `metadata.jsonl` (`file_name`, `caption` or `text`, `licence` or
`license`; file names are relative to the metadata's own folder), and otherwise from the file's name. Folders are
searched to the bottom. Nothing outside the folder is ever listed: a link or a file name that leads out is refused.
"""

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from spavl.config import FolderSource
from spavl.errors import UserError
from spavl.images.candidates import Candidate, clean, printable, words_of
from spavl.images.columns import json_row
from spavl.records import Failure

METADATA_NAMES = ("metadata.csv", "metadata.jsonl")
PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic"})
"""Files taken for pictures; those that cannot be decoded become failures and are counted."""


class OpenFiles:
    """Pictures that lie on this machine, each in a file of its own, as an open source."""

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        self.candidates = candidates

    def expect(self, indexes: Iterable[int]) -> None:
        """Needs no warning."""

    async def content(self, index: int) -> Path | bytes | Failure:
        """Returns the file."""
        return self.candidates[index].path

    async def close(self) -> None:
        """Holds nothing open."""


class Description(NamedTuple):
    """What the metadata says about one file."""

    caption: str
    licence: str


def folder_candidates(source: FolderSource) -> list[Candidate]:
    """Returns the pictures of the folder, in the order of their names.

    Raises:
        UserError: The folder is missing or unreadable, something leads out of it, or its metadata is wrong.
    """
    root = source.path
    if not root.is_dir():
        raise UserError(
            f"images.source.path: {root} is not a folder. Give a folder of pictures, "
            "or use the packaged ones with images.source.kind=packaged."
        )
    files = _files(root)
    described: dict[Path, Description] = {}
    for metadata in files:
        if metadata.name in METADATA_NAMES:
            _describe(metadata, root, frozenset(files), described)
    collection = clean(root.resolve().name) or "folder"
    return [
        _candidate(file, root, collection, described.get(file), source.licence)
        for file in files
        if file in described or file.suffix.lower() in PICTURE_SUFFIXES
    ]


def _candidate(file: Path, root: Path, collection: str, known: Description | None, licence: str) -> Candidate:
    caption, own_licence = known or Description("", "")
    return Candidate(
        path=file,
        caption=caption or clean(words_of(file.name)),
        licence=own_licence or licence,
        source=collection,
        name=printable(file.relative_to(root).as_posix()),
    )


def _files(root: Path) -> list[Path]:
    """Returns every file below the folder, sorted; folders that are links are checked and not entered."""

    def refuse(error: OSError) -> NoReturn:
        raise UserError(f"images.source.path: {error.filename} cannot be read: {error.strerror}.") from error

    inside, found = root.resolve(), []
    for folder, subfolders, names in os.walk(root, onerror=refuse):
        for path in (Path(folder, name) for name in (*subfolders, *names)):
            if path.is_symlink() and not _resolved(path).is_relative_to(inside):
                raise UserError(
                    f"images.source.path: {path} is a link that leads out of the folder. "
                    "Put the file itself there, or remove the link."
                )
        found += [Path(folder, name) for name in names]
    return sorted(found, key=os.fsencode)


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:  # a link that leads to itself
        raise UserError(f"images.source.path: {path} is a link that leads nowhere. Remove it.") from error


def _describe(metadata: Path, root: Path, files: frozenset[Path], described: dict[Path, Description]) -> None:
    """Adds what one metadata file says."""
    for line, row in _rows(metadata):
        where = f"{metadata}, line {line}"
        name = row.get("file_name")
        if not isinstance(name, str) or not name:
            raise UserError(f"{where}: `file_name` is missing. Each line names one file of the folder.")
        file = Path(os.path.normpath(metadata.parent / name))
        if not file.is_relative_to(root):
            raise UserError(f"{where}: file_name {name!r} leads out of the folder. Name files inside it.")
        if file not in files:
            raise UserError(
                f"{where}: file_name {name!r} is not a file of the folder. Correct the name or remove the line."
            )
        if file in described:
            raise UserError(f"{where}: file_name {name!r} is described twice. Keep one line for each file.")
        described[file] = Description(_text(row, ("caption", "text"), where), _text(row, ("licence", "license"), where))


def _text(row: dict[str, Any], fields: tuple[str, ...], where: str) -> str:
    """Returns the first of the fields that is filled."""
    for field in fields:
        value = row.get(field) or ""
        if not isinstance(value, str):
            raise UserError(f"{where}: `{field}` is {value!r}; write text.")
        if value.strip():
            return clean(value)
    return ""


def _rows(metadata: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (line number, row) of a metadata file."""
    try:
        with metadata.open(encoding="utf-8-sig", newline="") as file:
            if metadata.suffix == ".csv":
                reader = csv.DictReader(file)
                yield from ((reader.line_num, row) for row in reader)
            else:
                yield from ((number, json_row(line)) for number, line in enumerate(file, 1) if line.strip())
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(
            f"{metadata} cannot be read: {error}. Save it as {metadata.suffix[1:].upper()} in UTF-8."
        ) from error
