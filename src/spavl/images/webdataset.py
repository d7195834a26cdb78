"""Lists the pictures of tar files in the WebDataset form: what belongs together has one key and lies side by side.

The key of a member is its name up to the first dot of its last part. A picture's caption comes from `<key>.txt`, or
from `<key>.json`, which may also have licence, similarity and address. Nothing is ever extracted: a picture's bytes are
read from where they lie in the tar. Links, devices and names that lead out are counted failures, not followed. Of a
torn tar what lies before the tear is read, and the tear is a counted failure.
"""

import asyncio
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby, islice
from pathlib import Path
from typing import Any, NamedTuple

from spavl.errors import UserError
from spavl.image_config import WebDatasetSource
from spavl.images.candidates import Candidate, clean, printable, words_of
from spavl.images.columns import LOOKED_AT, Described, describe, find_columns, json_row
from spavl.images.folder import PICTURE_SUFFIXES
from spavl.records import Failure
from spavl.store import Places
from spavl.texts.visible import whole

MAX_TEXT_BYTES = 1_000_000
"""Longest caption or JSON file."""
UNFINISHED = Failure(reason="torn_tar", message="the tar is torn before the picture's caption")


class _Member(NamedTuple):
    """A member of a tar, and where its bytes lie."""

    name: str
    key: str
    suffix: str
    """What follows the key's dot, in lower case: `jpg`, `txt`, `left.png`."""
    offset: int
    size: int
    refused: Failure | None
    torn: bool = False
    """Whether it stands for what a tear took: one of this key, as far as its header says, and all that followed."""

    @property
    def is_picture(self) -> bool:
        """Whether its name is a picture's."""
        return f".{self.suffix.rpartition('.')[2]}" in PICTURE_SUFFIXES


class OpenWebDataset:
    """Tar files with pictures, opened.

    Args:
        config: Which files, and what their JSON calls things.
        max_bytes: Largest picture.
    """

    def __init__(self, config: WebDatasetSource, max_bytes: int) -> None:
        self._config, self._max_bytes = config, max_bytes

    def listed(self) -> Iterator[Candidate]:
        """Yields the pictures, and what was refused in place of some.

        Raises:
            UserError: There are no such files, none has a picture, nothing of them can be read, or no JSON has a key
                that is named.
        """
        config, names, keys, torn = self._config, Places(), dict[str, None](), dict[Path, str]()
        for path in tar_files(config):
            for _, members in groupby(_members(path), key=lambda member: member.key):
                sample = list(members)
                row, wrong = _texts(path, sample)
                if (tear := _tear(sample)) is not None:
                    torn[path] = tear.message
                wrong = wrong or (UNFINISHED if path in torn and keys and not row else None)
                keys |= dict.fromkeys(row)
                for candidate in _candidates(path, sample, row, config):
                    name = candidate.name
                    while name in names:
                        name = f"{candidate.name} ({len(names)})"
                    names.put(name, len(names))
                    yield candidate._replace(name=name, refused=candidate.refused or wrong)
        if torn and len(names) == len(torn):
            raise _damaged(*next(iter(torn.items())))
        if not names:
            raise _no_picture(config)
        _check_names(keys, config)

    def expect(self, candidates: Iterable[Candidate]) -> None:
        """Needs no warning."""

    async def content(self, candidate: Candidate) -> Path | bytes | Failure:
        """Returns a picture's bytes.

        Raises:
            UserError: The tar is shorter than it was.
        """
        offset, size = candidate.at
        if size > self._max_bytes:
            message = f"{size:,} bytes; at most {self._max_bytes:,} are allowed"
            return Failure(reason="too_large", message=message, dropped=True)
        return await asyncio.to_thread(_bytes_at, candidate.path, offset, size)

    async def close(self) -> None:
        """Holds nothing open."""


def _candidates(
    path: Path, sample: Sequence[_Member], row: Mapping[str, Any], config: WebDatasetSource
) -> Iterator[Candidate]:
    """Yields the pictures of one key, and what was refused there."""
    described = _described(row, config)
    for member in sample:
        if member.refused is None and not member.is_picture:
            continue
        yield Candidate(
            path=path,
            caption=described.caption or clean(words_of(member.name)) or "picture",
            licence=described.licence,
            source=clean(path.resolve().parent.name) or "webdataset",
            name=f"{path.name}/{member.name}",
            url=whole(row["url"]) if isinstance(row.get("url"), str) else None,
            similarity=described.similarity,
            columns=described.columns,
            refused=member.refused,
            at=(member.offset, member.size),
        )


def _described(row: Mapping[str, Any], config: WebDatasetSource) -> Described:
    """Describes a sample; it need not have every key that the configuration names, see `_check_names`."""
    named = (config.caption_column, config.licence_column, config.similarity_column, *config.keep)
    columns = find_columns([*row, *(name for name in named if name is not None)], config)
    described = describe(row, columns, config)
    return described._replace(caption=row.get(".txt") or described.caption)


def check_webdataset(config: WebDatasetSource) -> None:
    """Checks the beginning of every tar; nothing is extracted, and no picture is read.

    Raises:
        UserError: There is no tar, one is damaged or compressed, a name leads out of it, a caption cannot be read, none
            has a picture, or no JSON has a key that is named.
    """
    keys: dict[str, None] = {}
    pictures = 0
    for path in tar_files(config):
        members = list(islice(_members(path), LOOKED_AT))
        if len(members) == LOOKED_AT and path.stat().st_size % tarfile.BLOCKSIZE:
            raise _damaged(path, "it ends inside a block")
        for _, members_of_key in groupby(members, key=lambda member: member.key):
            sample = list(members_of_key)
            row, unreadable = _texts(path, sample)
            _refuse_wrong(path, sample, unreadable)
            keys |= dict.fromkeys(row)
            pictures += sum(member.is_picture for member in sample)
    if not pictures:
        raise _no_picture(config)
    _check_names(keys, config)


def _refuse_wrong(path: Path, sample: Sequence[_Member], unreadable: Failure | None) -> None:
    """Says what a collection would leave out and count: a tear, a name that leads out, an unreadable caption."""
    if (tear := _tear(sample)) is not None:
        raise _damaged(path, tear.message)
    leading = next((one for one in sample if one.refused is not None and one.refused.reason == "leads_out"), None)
    wrong = unreadable.message if unreadable is not None else None
    if leading is not None:
        wrong = f"the name of {leading.name!r} leads out of the tar"
    if wrong is not None:
        raise UserError(
            f"images.source.path: {path}: {wrong}. Pack the tar again without it; a collection counts such pictures "
            "and leaves them out."
        )


def _tear(sample: Sequence[_Member]) -> Failure | None:
    return next((one.refused for one in sample if one.torn), None)


def _no_picture(config: WebDatasetSource) -> UserError:
    return UserError(f"images.source.path: {config.path} holds no picture. Give tar files with pictures in them.")


def _check_names(keys: Iterable[str], config: WebDatasetSource) -> None:
    """Checks that each name of the configuration is a key of some JSON."""
    find_columns([name for name in keys if name != ".txt"], config)


def tar_files(config: WebDatasetSource) -> list[Path]:
    """Returns the tar files in order.

    Raises:
        UserError: There is none.
    """
    path = config.path
    if path.is_dir():
        found = sorted(path.glob("*.tar"))
    elif path.is_file():
        found = [path]
    else:
        found = _matching(path)
    if not found:
        raise UserError(
            f"images.source.path: {path} names no tar file. Give one, a folder of *.tar, or a pattern: shards/*.tar."
        )
    return found


def _matching(pattern: Path) -> list[Path]:
    start = Path(pattern.anchor)
    try:
        return sorted(one for one in start.glob(str(pattern.relative_to(start))) if one.is_file())
    except ValueError as error:  # two stars are a part of their own
        raise UserError(f"images.source.path: {pattern}: {error}. Give a pattern like shards/*.tar.") from error


def _members(path: Path) -> Iterator[_Member]:
    """Yields the members of a tar that are not folders, in order, and at its end the tear where it has one."""
    size, key, end = path.stat().st_size, "", 0
    try:
        with _damage_named(path), tarfile.open(path, "r:") as tar:
            while (member := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # tarfile would keep every header; typeshed lacks the name
                if member.isdir():
                    continue
                name = printable(member.name)
                folder, slash, last = name.rpartition("/")
                stem, _, suffix = last.partition(".")
                key = folder + slash + stem
                if member.isreg() and member.offset_data + member.size > size:
                    raise tarfile.ReadError("unexpected end of data")
                end = tar.offset
                yield _Member(name, key, suffix.lower(), member.offset_data, member.size, _refusal(member, name))
            _check_end(path, tar.offset, size)
    except tarfile.TarError as error:
        why = Failure(reason="torn_tar", message=" ".join(str(error).split())[:100])
        yield _Member(f"(torn after byte {end})", key, "", end, 0, why, torn=True)


def _check_end(path: Path, offset: int, size: int) -> None:
    """Refuses what is neither the end of the file nor a block of zeros, for `tarfile` takes it for the end."""
    left = min(size - offset, tarfile.BLOCKSIZE)
    if left > 0 and (left < tarfile.BLOCKSIZE or any(_bytes_at(path, offset, left))):
        raise tarfile.ReadError("unexpected end of data")


def _refusal(member: tarfile.TarInfo, name: str) -> Failure | None:
    if name.startswith("/") or ".." in name.split("/"):
        return Failure(reason="leads_out", message="the name leads out of the tar", dropped=True)
    if not member.isreg() or member.issparse():
        return Failure(reason="not_a_file", message="a link, a device or a sparse file", dropped=True)
    return None


def _texts(path: Path, sample: Sequence[_Member]) -> tuple[dict[str, Any], Failure | None]:
    """Returns what a sample's JSON says, its caption file as `.txt`, and what is wrong with either."""
    row: dict[str, Any] = {}
    for member in sample:
        if member.refused is not None or member.suffix not in ("txt", "json"):
            continue
        try:
            if member.size > MAX_TEXT_BYTES:
                raise ValueError(f"more than {MAX_TEXT_BYTES:,} bytes")
            text = _bytes_at(path, member.offset, member.size).decode("utf-8-sig")
            row |= {".txt": clean(text)} if member.suffix == "txt" else _object(text)
        except ValueError as error:
            message = f"{member.name} cannot be read: {' '.join(str(error).split())[:100]}"
            return {}, Failure(reason="unreadable_caption", message=message)
    return row, None


def _object(text: str) -> dict[str, Any]:
    return {name: value for name, value in json_row(text).items() if name != ".txt"}


def _bytes_at(path: Path, offset: int, size: int) -> bytes:
    with _damage_named(path), path.open("rb") as file:
        file.seek(offset)
        content = file.read(size)
        if len(content) < size:
            raise EOFError("unexpected end of data")
        return content


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError) as error:
        raise _damaged(path, " ".join(str(error).split())[:100]) from error


def _damaged(path: Path, cause: str) -> UserError:
    return UserError(
        f"images.source.path: {path} cannot be read as a tar ({cause}). "
        "Get the file again; a compressed one has to be unpacked to a plain tar."
    )
