"""Lists a folder of pictures in the Hugging Face imagefolder layout.

Captions and licences come from `metadata.csv` or `metadata.jsonl` (`file_name`, `caption` or `text`, `licence` or
`license`; file names are relative to the metadata's own folder), and otherwise from the file's name. Folders are
searched to the bottom. Nothing outside the folder is ever read: a link that leads out is a counted failure. So is a
line of the metadata that names what is outside or no file of the folder, or a file that an earlier line describes,
unless every line there is wrong.
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
LEADS_OUT = Failure(reason="leads_out", message="a name that leads out of the folder", dropped=True)
NO_FILE = Failure(reason="missing_picture", message="not a file of the folder")
TWICE = Failure(reason="described_twice", message="an earlier line describes this file, and counts", dropped=True)
NAMELESS = Failure(reason="no_file_name", message="`file_name` is missing; each line names one file of the folder")


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


class WrongLine(NamedTuple):
    """A line of the metadata that describes no picture."""

    metadata: str
    name: str
    """Where the line stands, and what it names."""
    caption: str
    why: Failure


class Description(NamedTuple):
    """What the metadata says about one file."""

    caption: str
    licence: str
    wrong: str = ""
    """What of it cannot be read; the picture is then refused."""


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
            caption, licence, wrong = known or Description("", "")
            yield Candidate(
                path=file,
                caption=caption or clean(words_of(file.name)),
                licence=licence or source.licence,
                source=clean(inside.name) or "folder",
                name=printable(file.relative_to(root).as_posix()),
                refused=refused or (Failure(reason="unreadable_caption", message=wrong) if wrong else None),
            )
    for line in described.wrong_lines():
        path, whole = Path(line.metadata), clean(inside.name) or "folder"
        yield Candidate(path=path, caption=line.caption, licence=None, source=whole, name=line.name, refused=line.why)


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
        self._wrong: list[int] = []

    def of(self, file: Path) -> Description | None:
        """Returns what is said about a file, if anything."""
        place = self._places.get(str(file))
        if place is None:
            return None
        name, *said = json.loads(self._lines[place])
        return Description(*said) if name == str(file) else None

    def wrong_lines(self) -> Iterator[WrongLine]:
        """Yields the lines that describe no picture, as far as they were read."""
        for place in self._wrong:
            metadata, name, caption, why = json.loads(self._lines[place])
            yield WrongLine(metadata, name, caption, Failure.model_validate(why))

    def read(self, metadata: Path) -> None:
        """Adds what one metadata file says; of lines that describe one file the first counts.

        Raises:
            UserError: It is damaged or leads out, or every line there is wrong.
        """
        if metadata.is_symlink() and (refused := _refusal(metadata, self._inside)):
            raise UserError(f"{metadata} is {refused.message}. Put the file itself there, or remove the link.")
        here, first = metadata.relative_to(self._root).as_posix(), None
        right, before = 0, len(self._wrong)
        for line, row in _rows(metadata):
            name, said = row.get("file_name"), _described(row)
            named = name if isinstance(name, str) else ""
            file = Path(os.path.normpath(metadata.parent / named))
            why = self._refused(file) if named else NAMELESS
            right += why in (None, TWICE)
            if why is None:
                self._places.put(str(file), self._lines.add(json.dumps((str(file), *said)).encode()))
                continue
            where = printable(f"{here}, line {line}: {named}")
            body = (str(metadata), where, said.caption or clean(words_of(named)) or "picture", why.model_dump())
            self._wrong.append(self._lines.add(json.dumps(body).encode()))
            first = first or f"{metadata}, line {line}: {printable(named)}: {why.message}"
        if not right and len(self._wrong) > before:
            raise UserError(f"{first}, and no line there is right. Correct the names, or remove the file.")

    def _refused(self, file: Path) -> Failure | None:
        """Says why a line describes no picture; what lies behind a link of a folder is none, for it is not listed."""
        if not file.is_relative_to(self._root):
            return LEADS_OUT
        if not _is_file(file) or file.parent.resolve() != self._inside / file.parent.relative_to(self._root):
            return NO_FILE
        return TWICE if self.of(file) is not None else None


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


def _described(row: dict[str, Any]) -> Description:
    """Returns what a line says of its file: of each pair of fields the first that is filled."""
    said = []
    for fields in (("caption", "text"), ("licence", "license")):
        filled = [field for field in fields if row.get(field)]
        wrong = next((field for field in filled if not isinstance(row[field], str)), None)
        if wrong is not None:
            return Description("", "", f"`{wrong}` is {str(row[wrong])[:40]!r}; write text")
        said.append(next((text for field in filled if (text := clean(row[field]))), ""))
    return Description(*said)


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
