"""Lists a folder of pictures in the Hugging Face imagefolder layout.

Captions and licences come from `metadata.csv` or `metadata.jsonl` (`file_name`, `caption` or `text`, `licence` or
`license`; file names are relative to the metadata's own folder), and otherwise from the file's name. Folders are
searched to the bottom. Nothing outside the folder is ever read: a link that leads out is a counted failure, and so is a
name in the metadata that does, unless every name there does.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from spavl.config import FolderSource
from spavl.errors import UserError
from spavl.images.candidates import Candidate, clean, printable, words_of
from spavl.images.columns import csv_rows, json_row
from spavl.records import Failure
from spavl.store import Places, Scratch

METADATA_NAMES = ("metadata.csv", "metadata.jsonl")
PICTURE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"}  # are read; the others are counted failures
    | {".tif", ".tiff", ".avif", ".heic", ".heif", ".jxl", ".jp2", ".svg", ".ico", ".psd"}
)
"""Files taken for pictures; those that cannot be decoded become failures and are counted, as are kinds that the store
does not read (TIFF, AVIF, HEIC, SVG and such)."""
OUT = Failure(reason="leads_out", message="a name that leads out of the folder", dropped=True)


class OpenFiles:
    """Pictures that lie on this machine, each in a file of its own, as an open source.

    Args:
        listed: Begins the list of them anew.
    """

    def __init__(self, listed: Callable[[], Iterator[Candidate]]) -> None:
        self.listed = listed

    def expect(self, candidates: Iterable[Candidate]) -> None:
        """Needs no warning."""

    async def content(self, candidate: Candidate) -> Path | bytes | Failure:
        """Returns the file."""
        return candidate.path

    async def close(self) -> None:
        """Holds nothing open."""


class LeadingOut(NamedTuple):
    """A row of the metadata whose name leads out of the folder."""

    metadata: str
    name: str
    """Where the row stands, and what it names."""
    caption: str


class Description(NamedTuple):
    """What the metadata says about one file."""

    caption: str
    licence: str


def folder_candidates(source: FolderSource) -> Iterator[Candidate]:
    """Yields the pictures of the folder, in the order of their names; of one folder at a time the names are in memory.

    Raises:
        UserError: The folder is missing or unreadable, or its metadata is wrong or leads out of it.
    """
    root = source.path
    if not root.is_dir():
        raise UserError(
            f"images.source.path: {root} is not a folder. Give a folder of pictures, "
            "or use the packaged ones with images.source.kind=packaged."
        )
    described, inside = _Descriptions(root), root.resolve()
    for file in _files(root):
        if file.name in METADATA_NAMES:
            described.read(file)
    for file in _files(root):
        known, refused = described.of(file), _refusal(file, inside) if file.is_symlink() else None
        if known is not None or file.suffix.lower() in PICTURE_SUFFIXES or (refused and file.is_dir()):
            caption, licence = known or Description("", "")
            yield Candidate(
                path=file,
                caption=caption or clean(words_of(file.name)),
                licence=licence or source.licence,
                source=clean(inside.name) or "folder",
                name=printable(file.relative_to(root).as_posix()),
                refused=refused,
            )
    for row in described.leading_out():
        path, whole = Path(row.metadata), clean(inside.name) or "folder"
        yield Candidate(path=path, caption=row.caption, licence=None, source=whole, name=row.name, refused=OUT)


def _refusal(link: Path, inside: Path) -> Failure | None:
    """Returns why what a link leads to is never opened."""
    target = _resolved(link)
    if target is None:
        return Failure(reason="unreadable", message="a link that leads nowhere")
    if not target.is_relative_to(inside):
        return Failure(reason="leads_out", message="a link that leads out of the folder", dropped=True)
    return None


class _Descriptions:
    """What the metadata says about files; it lies in a file of its own.

    Args:
        root: The folder of all.
    """

    def __init__(self, root: Path) -> None:
        self._root, self._inside = root, root.resolve()
        self._places, self._lines = Places(), Scratch()
        self._out: list[int] = []

    def of(self, file: Path) -> Description | None:
        """Returns what is said about a file, if anything."""
        place = self._places.get(str(file))
        if place is None:
            return None
        name, *said = json.loads(self._lines[place])
        return Description(*said) if name == str(file) else None

    def leading_out(self) -> Iterator[LeadingOut]:
        """Yields the rows whose names lead out of the folder, as far as they were read."""
        for place in self._out:
            yield LeadingOut(*json.loads(self._lines[place]))

    def read(self, metadata: Path) -> None:
        """Adds what one metadata file says.

        Raises:
            UserError: It is damaged or leads out, or speaks of what is no file of the folder, or of one file twice; or
                every name in it leads out.
        """
        if metadata.is_symlink() and (refused := _refusal(metadata, self._inside)):
            raise UserError(f"{metadata} is {refused.message}. Put the file itself there, or remove the link.")
        inside, out = 0, len(self._out)
        for line, row in _rows(metadata):
            where = f"{metadata}, line {line}"
            name = row.get("file_name")
            if not isinstance(name, str) or not name:
                raise UserError(f"{where}: `file_name` is missing. Each line names one file of the folder.")
            said = (_text(row, ("caption", "text"), where), _text(row, ("licence", "license"), where))
            file = Path(os.path.normpath(metadata.parent / name))
            if not file.is_relative_to(self._root):
                named = printable(f"{metadata.relative_to(self._root).as_posix()}, line {line}: {name}")
                row_out = LeadingOut(str(metadata), named, said[0] or clean(words_of(name)))
                self._out.append(self._lines.add(json.dumps(row_out).encode()))
                continue
            inside += 1
            self._check(file, f"{where}: file_name {name!r}")
            if self.of(file) is not None:
                raise UserError(f"{where}: file_name {name!r} is described twice. Keep one line for each file.")
            self._places.put(str(file), self._lines.add(json.dumps((str(file), *said)).encode()))
        if not inside and len(self._out) > out:
            first = LeadingOut(*json.loads(self._lines[self._out[out]]))
            raise UserError(
                f"{self._root}/{first.name} leads out of the folder, as every name there does. Name files inside it."
            )

    def _check(self, file: Path, where: str) -> None:
        """Checks that it is a file of the folder; what lies behind a link of a folder is none, for it is not listed."""
        if not _is_file(file) or file.parent.resolve() != self._inside / file.parent.relative_to(self._root):
            raise UserError(f"{where} is not a file of the folder. Correct the name or remove the line.")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _files(root: Path) -> Iterator[Path]:
    """Yields every file below the folder, in the order of their paths; folders that are links are not entered."""
    inside = root.resolve()
    open_folders = [(root, _names(root, inside))]
    while open_folders:
        folder, names = open_folders[-1]
        if not names:
            open_folders.pop()
        elif (name := os.fsdecode(names.pop())).endswith("/"):
            open_folders.append((folder / name, _names(folder / name, inside)))
        else:
            yield folder / name


def _names(folder: Path, inside: Path) -> list[bytes]:
    """Returns the names in a folder, the last first; those of folders end with a slash, so whole paths are in order.

    Raises:
        UserError: It cannot be read.
    """
    names = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = os.fsencode(entry.name)
                if entry.is_dir(follow_symlinks=False):
                    names.append(name + b"/")
                elif not entry.is_symlink() or not _leads_to_folder(folder / entry.name, inside):
                    names.append(name)
    except OSError as error:
        raise UserError(f"images.source.path: {error.filename} cannot be read: {error.strerror}.") from error
    return sorted(names, reverse=True)


def _leads_to_folder(link: Path, inside: Path) -> bool:
    """Says whether a link leads to another folder within the folder."""
    target = _resolved(link)
    return target is not None and target.is_relative_to(inside) and target.is_dir()


def _resolved(link: Path) -> Path | None:
    try:
        return link.resolve()
    except (OSError, RuntimeError):  # it leads to itself
        return None


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
        if metadata.suffix == ".csv":
            yield from csv_rows(metadata)
            return
        with metadata.open(encoding="utf-8-sig", newline="") as file:
            yield from ((number, json_row(line)) for number, line in enumerate(file, 1) if line.strip())
    except (OSError, ValueError) as error:
        raise UserError(
            f"{metadata} cannot be read: {error}. Save it as {metadata.suffix[1:].upper()} in UTF-8."
        ) from error
