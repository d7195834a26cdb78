"""Lists the pictures of a table of addresses: Parquet or CSV, a row an address with its caption, as LAION's."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import pyarrow.parquet as pq

from spavl.errors import UserError
from spavl.image_config import TableSource
from spavl.images.candidates import Candidate, clean, printable, words_of
from spavl.images.columns import (
    LOOKED_AT,
    URLS,
    Columns,
    Described,
    check_captions,
    csv_rows,
    damage_named,
    describe,
    find_column,
    find_columns,
    needed,
    without_captions,
)
from spavl.images.download import Downloader
from spavl.images.downloads import DownloadFolder
from spavl.models.replay import Replay
from spavl.records import Failure
from spavl.store import Places

ROWS_AT_ONCE = 10_000
CHARACTERS_AT_ONCE = 1 << 20
SUFFIXES = (".parquet", ".csv")


class TableColumns(NamedTuple):
    """The columns of a table that are read."""

    url: str
    caption: str
    described: Columns

    @property
    def all(self) -> tuple[str, ...]:
        """Every column once."""
        return tuple(dict.fromkeys((self.url, *self.described.all)))


class OpenTable:
    """A table of addresses, opened; made and closed inside one event loop.

    Args:
        config: Where the table is, and how its pictures are downloaded.
        downloads: Where they go.
        max_bytes: Largest file.
        replay: Set where nothing is downloaded, and only what lies in `downloads` is given.
    """

    def __init__(self, config: TableSource, downloads: Path, max_bytes: int, replay: Replay | None = None) -> None:
        self._config = config
        self._folder, self._replay = DownloadFolder(downloads), replay
        self._downloader = Downloader(config, self._folder, max_bytes)

    def listed(self) -> Iterator[Candidate]:
        """Yields the rows."""
        return table_candidates(self._config)

    def expect(self, candidates: Iterable[Candidate]) -> None:
        """Begins to download these pictures."""
        if self._replay is None:
            self._downloader.expect(candidate.url or "" for candidate in candidates)

    async def content(self, candidate: Candidate) -> Path | bytes | Failure:
        """Returns a downloaded file, or why there is none."""
        url = candidate.url or ""
        if self._replay is None:
            return await self._downloader.fetch(url)
        return self._folder.known(url) or self._replay.failure("a download")

    async def close(self) -> None:
        """Ends downloads and connections."""
        await self._downloader.close()


def table_candidates(config: TableSource) -> Iterator[Candidate]:
    """Yields the rows of the table in order; of addresses that stand several times, later ones have their row's name.

    Raises:
        UserError: The table is missing, damaged or empty, or a column is; or a file's rows have no captions.
    """
    known = Places()
    collection = clean(config.path.resolve().stem) or "table"
    for path in table_files(config):
        columns = _columns(_column_names(path), config)
        number = captions = 0
        for number, row in enumerate(_rows(path, columns.all), 1):
            url, described = _address(row, columns), _described(row, columns, config)
            name = url if url and url not in known else f"{url} (row {number} of {path.name})".strip()
            known.put(name, number)
            captions += bool(described.caption)
            yield _candidate(path, collection, name, url, described)
        if number and not captions and columns.caption != columns.url:
            raise without_captions(path, columns.caption, number)
    if not known:
        raise _empty(config)


def check_table(config: TableSource) -> None:
    """Checks what can be checked without a download: the files, their columns, and rows of each.

    Raises:
        UserError: The table is missing, damaged or empty, or a column is, or holds something else.
    """
    rows = sum(_check_file(path, config) for path in table_files(config))
    if not rows:
        raise _empty(config)


def table_files(config: TableSource) -> list[Path]:
    """Returns the table's files in order, each of which begins as a table.

    Raises:
        UserError: There is none, or some are damaged; all of those are named.
    """
    tables = _named_tables(config)
    damaged = []
    for path in tables:
        try:
            _column_names(path)
        except UserError as error:
            damaged.append(str(error))
    if damaged:
        raise UserError("\n".join(damaged))
    return tables


def _named_tables(config: TableSource) -> list[Path]:
    files = sorted(config.path.iterdir()) if config.path.is_dir() else [config.path]
    tables = [path for path in files if path.suffix.lower() in SUFFIXES and path.is_file()]
    if not tables:
        there = "is neither Parquet nor CSV" if config.path.is_file() else "holds no *.parquet and no *.csv"
        there = there if config.path.exists() else "is not there"
        raise UserError(f"images.source.path: {config.path} {there}. Give a Parquet or CSV file, or a folder of them.")
    return tables


def _check_file(path: Path, config: TableSource) -> int:
    """Looks at the first rows of a file, and returns how many those are."""
    columns = _columns(_column_names(path), config)
    if path.suffix.lower() == ".csv":
        with damage_named(path), path.open(encoding="utf-8-sig", newline="") as file:
            while file.read(CHARACTERS_AT_ONCE):
                pass  # one letter of another encoding may stand anywhere
    rows = list(islice(_rows(path, columns.all), LOOKED_AT))
    if rows and not any(_address(row, columns).lower().startswith(("http://", "https://")) for row in rows):
        raise UserError(
            f"images.source.url_column: none of the first {len(rows)} rows of {path} has an address in column "
            f"'{columns.url}'. Name the column whose values begin with http:// or https://."
        )
    if columns.caption != columns.url:
        all_rows = _rows(path, columns.all)
        check_captions(path, columns.caption, (describe(row, columns.described, config) for row in all_rows))
    return len(rows)


def _empty(config: TableSource) -> UserError:
    return UserError(f"images.source.path: {config.path} has no rows. Give a table with an address a row.")


def _columns(names: Sequence[str], config: TableSource) -> TableColumns:
    url = needed(find_column(names, "url_column", config.url_column, URLS), names, "url_column", "addresses")
    described = find_columns(names, config)
    captions = f"captions (of '{url}' the words of the file names are taken)"
    return TableColumns(url, needed(described.caption, names, "caption_column", captions), described)


def _address(row: Mapping[str, Any], columns: TableColumns) -> str:
    url = row.get(columns.url)
    return printable(url.strip()) if isinstance(url, str) else ""


def _described(row: Mapping[str, Any], columns: TableColumns, config: TableSource) -> Described:
    """Returns what a row says; the address itself is no caption."""
    described = describe(row, columns.described, config)
    return described._replace(caption="") if columns.caption == columns.url else described


def _candidate(path: Path, collection: str, name: str, url: str, described: Described) -> Candidate:
    return Candidate(
        path=path,
        caption=described.caption or _words_of_address(url) or "picture",
        licence=described.licence,
        source=collection,
        name=name,
        url=url,
        similarity=described.similarity,
        columns=described.columns,
    )


def _words_of_address(url: str) -> str:
    try:
        return clean(words_of(PurePosixPath(unquote(urlsplit(url).path)).name))
    except ValueError:  # brackets that hold no address
        return ""


def _column_names(path: Path) -> list[str]:
    with damage_named(path):
        if path.suffix.lower() == ".csv":
            with path.open(encoding="utf-8-sig", newline="") as file:
                return next(csv.reader(file), [])
        names: list[str] = pq.read_schema(path).names
        return names


def _rows(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yields the rows, some in memory at a time."""
    with damage_named(path):
        if path.suffix.lower() == ".csv":
            yield from (row for _, row in csv_rows(path))
            return
        with pq.ParquetFile(path) as parquet:
            for batch in parquet.iter_batches(ROWS_AT_ONCE, columns=list(columns)):
                yield from batch.to_pylist()
