"""Lists the pictures of a table of addresses: Parquet or CSV, a row an address with its caption, as LAION's."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import pyarrow.parquet as pq

from spavl.errors import UserError
from spavl.image_config import TableSource
from spavl.images.candidates import Candidate, clean, printable, words_of
from spavl.images.columns import URLS, Columns, Described, damage_named, describe, find_column, find_columns, needed
from spavl.images.download import Downloader
from spavl.images.downloads import DownloadFolder
from spavl.models.replay import Replay
from spavl.records import Failure

ROWS_AT_ONCE = 10_000
SUFFIXES = (".parquet", ".csv")


class TableColumns(NamedTuple):
    """The columns of a table that are read."""

    url: str
    described: Columns


class OpenTable:
    """A table of addresses, opened; made and closed inside one event loop.

    Args:
        config: Where the table is, and how its pictures are downloaded.
        downloads: Where they go.
        max_bytes: Largest file.
        replay: Set where nothing is downloaded, and only what lies in `downloads` is given.
    """

    def __init__(self, config: TableSource, downloads: Path, max_bytes: int, replay: Replay | None = None) -> None:
        self.candidates: Sequence[Candidate] = table_candidates(config)
        self._folder, self._replay = DownloadFolder(downloads), replay
        self._downloader = Downloader(config, self._folder, max_bytes)

    def expect(self, indexes: Iterable[int]) -> None:
        """Begins to download these pictures."""
        if self._replay is None:
            self._downloader.expect(self.candidates[index].url or "" for index in indexes)

    async def content(self, index: int) -> Path | bytes | Failure:
        """Returns a downloaded file, or why there is none."""
        url = self.candidates[index].url or ""
        if self._replay is None:
            return await self._downloader.fetch(url)
        return self._folder.known(url) or self._replay.failure("a download")

    async def close(self) -> None:
        """Ends downloads and connections."""
        await self._downloader.close()


def table_candidates(config: TableSource) -> list[Candidate]:
    """Returns the rows of the table in order; of addresses that stand several times, later ones have their row's name.

    Raises:
        UserError: The table is missing, damaged or empty, or a column is.
    """
    found: dict[str, Candidate] = {}
    collection = clean(config.path.resolve().stem) or "table"
    for path in table_files(config):
        names = _column_names(path)
        columns = _columns(names, config)
        for number, row in enumerate(_rows(path, (columns.url, *columns.described.all)), 1):
            url = row.get(columns.url)
            url = printable(url.strip()) if isinstance(url, str) else ""
            name = url if url and url not in found else f"{url} (row {number} of {path.name})".strip()
            found[name] = _candidate(path, collection, name, url, describe(row, columns.described, config))
    if not found:
        raise UserError(f"images.source.path: {config.path} has no rows. Give a table with an address a row.")
    return list(found.values())


def check_table(config: TableSource) -> None:
    """Checks what can be checked without a download: the files and their columns.

    Raises:
        UserError: The table is missing or damaged, or a column is.
    """
    for path in table_files(config):
        _columns(_column_names(path), config)


def table_files(config: TableSource) -> list[Path]:
    """Returns the table's files in order.

    Raises:
        UserError: There is none.
    """
    files = sorted(config.path.iterdir()) if config.path.is_dir() else [config.path]
    tables = [path for path in files if path.suffix.lower() in SUFFIXES and path.is_file()]
    if not tables:
        there = "is neither Parquet nor CSV" if config.path.is_file() else "holds no *.parquet and no *.csv"
        there = there if config.path.exists() else "is not there"
        raise UserError(f"images.source.path: {config.path} {there}. Give a Parquet or CSV file, or a folder of them.")
    return tables


def _columns(names: Sequence[str], config: TableSource) -> TableColumns:
    url = find_column(names, "url_column", config.url_column, URLS)
    return TableColumns(needed(url, names, "url_column", "addresses"), find_columns(names, config))


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
            with path.open(encoding="utf-8-sig", newline="") as file:
                yield from csv.DictReader(file, strict=True)
            return
        with pq.ParquetFile(path) as parquet:
            for batch in parquet.iter_batches(ROWS_AT_ONCE, columns=list(dict.fromkeys(columns))):
                yield from batch.to_pylist()
