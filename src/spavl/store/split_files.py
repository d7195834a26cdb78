"""Where a dataset's Parquet files lie: a local folder in the hub's layout, or the snapshot of a hub id."""

import math
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, RevisionNotFoundError

from spavl.errors import UserError

ROWS_AT_ONCE = 100
UNREADABLE = (pa.ArrowException, OSError, UnicodeDecodeError)
"""What reading a damaged Parquet file raises; the last, where a text in it is no UTF-8."""
STRETCHES = 8
"""Places of a split that a sample is taken from."""
_SPLIT_FILE = re.compile(r"(?P<split>\w+?)(-\d+(-of-\d+)?(-\w+)?)?\.parquet")
"""`train.parquet`, `train-00000-of-00008.parquet`, and with a hash behind it."""

_PART = re.compile(r"(?P<name>.+)-(?P<number>\d+)-of-(?P<parts>\d+)(-\w+)?\.parquet")


class SplitFiles(NamedTuple):
    """The files of one split."""

    key: str
    """Configuration key that the dataset stands under, for messages."""
    folder: Path
    """The dataset's folder."""
    files: Sequence[Path]
    schema: pa.Schema
    rows: int
    starts: Sequence[int]
    """Number of each file's first row."""

    def file_of(self, row: int) -> Path:
        """Returns the file that a row lies in, by the row's number in the split."""
        return self.files[bisect_right(self.starts, row) - 1]

    def sample(self, columns: Sequence[str], rows: int) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        """Yields stretches of rows from all over the split, with their first row's number; `rows` in all or fewer.

        A stretch lies at the beginning of a row group, and nothing else is read.

        Raises:
            UserError: A file is damaged.
        """
        groups = list(self._row_groups())
        taken = groups[:: math.ceil(len(groups) / STRETCHES)]
        for path, group, start in taken:
            try:
                with pq.ParquetFile(path, memory_map=True) as file:
                    batches = file.iter_batches(math.ceil(rows / len(taken)), row_groups=[group], columns=list(columns))
                    yield start, next(batches).to_pylist()[: self.rows - start]
            except UNREADABLE as error:
                raise UserError(_damaged(self.key, path, error)) from error

    def _row_groups(self) -> Iterator[tuple[Path, int, int]]:
        """Yields (file, place in it, number of the first row) of the row groups that hold a row."""
        for path, start in zip(self.files, self.starts, strict=True):
            footer = pq.read_metadata(path)
            for group in range(footer.num_row_groups):
                if footer.row_group(group).num_rows and start < self.rows:
                    yield path, group, start
                start += footer.row_group(group).num_rows

    def read(self, columns: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
        """Yields the rows in order, some at a time.

        Raises:
            UserError: A file is damaged.
        """
        for path in self.files:
            try:
                with pq.ParquetFile(path) as file:
                    for batch in file.iter_batches(ROWS_AT_ONCE, columns=list(columns)):
                        yield batch.to_pylist()
            except UNREADABLE as error:
                raise UserError(_damaged(self.key, path, error)) from error


def find_split(key: str, path: str, revision: str | None, split: str, beside: Sequence[str] = ()) -> SplitFiles:
    """Finds the Parquet files of one split.

    Args:
        key: Configuration key that the dataset stands under, such as `data`; it has `path` and `split`.
        path: Local folder in the hub's layout, or a hub id, whose files are downloaded into the hub's cache.
        revision: Commit, tag or branch of a hub id.
        split: Name of the split.
        beside: Patterns of other files that are wanted from the hub.

    Raises:
        UserError: There is no such dataset or split, or its files are damaged, unlike or not all there.
    """
    folder = dataset_folder(key, path, revision, [f"*{split}*.parquet", f"*{split}/*.parquet", *beside])
    splits = {one: _splits_of(one.relative_to(folder)) for one in sorted(folder.rglob("*.parquet"))}
    files = [one for one, names in splits.items() if split in names]
    if not files:
        known = sorted({names[0] for names in splits.values()})
        there = f"its splits are {', '.join(known)}" if known else "it holds no *.parquet"
        raise UserError(
            f"{key}.split: {path} has no split '{split}'; {there}. "
            f"Choose another split, or give a folder with {split}-*.parquet."
        )
    if len({one.parent for one in files}) > 1:
        places = ", ".join(sorted({str(one.parent.relative_to(folder)) for one in files}))
        raise UserError(f"{key}.path: split '{split}' lies in several folders ({places}). Give one as {key}.path.")
    check_parts(files, f"{key}.path")
    footers = _footers(key, files)
    schema, starts = footers[0].schema.to_arrow_schema(), [0]
    for one, footer in zip(files, footers, strict=True):
        starts.append(starts[-1] + footer.num_rows)
        if not footer.schema.to_arrow_schema().equals(schema):
            raise UserError(f"{key}.path: {one} has other columns than {files[0]}. Give files of one kind.")
    return SplitFiles(key, folder, files, schema, starts.pop(), starts)


def _footers(key: str, files: Iterable[Path]) -> list[pq.FileMetaData]:
    """Reads what stands at the end of every file.

    Raises:
        UserError: Files are damaged; all of them are named.
    """
    footers, damaged = [], []
    for one in files:
        try:
            footers.append(pq.read_metadata(one))
        except UNREADABLE as error:
            damaged.append(_damaged(key, one, error))
    if damaged:
        raise UserError("\n".join(damaged))
    return footers


def check_parts(files: Iterable[Path], field: str = "") -> None:
    """Checks that where a file says it is one of several parts, `NAME-00000-of-00002.parquet`, the others are there.

    Args:
        files: Those that are there.
        field: Where they are named, for messages.

    Raises:
        UserError: A part is missing.
    """
    there: dict[tuple[Path, str, str], set[int]] = {}
    for one in files:
        if part := _PART.fullmatch(one.name):
            there.setdefault((one.parent, part["name"], part["parts"]), set()).add(int(part["number"]))
    for (folder, name, parts), numbers in there.items():
        first = 1 if int(parts) in numbers and 0 not in numbers else 0
        missing = next((one for one in range(first, first + int(parts)) if one not in numbers), None)
        if missing is not None:
            raise UserError(
                f"{field}{': ' if field else ''}{folder} lacks {name}-{missing:0{len(parts)}}-of-{parts}.parquet: "
                f"{len(numbers)} of {int(parts)} parts are there. Get the rest; to read these alone, rename them "
                f"without `-of-{parts}`."
            )


def dataset_folder(key: str, path: str, revision: str | None, patterns: Sequence[str] | None = None) -> Path:
    """Returns a local folder as it is, or the snapshot of a hub id.

    Args:
        key: Configuration key that the dataset stands under, for messages.
        path: Local folder, or a hub id, whose files are downloaded into the hub's cache.
        revision: Commit, tag or branch of a hub id.
        patterns: Names of the files that are wanted from the hub; None for all.

    Raises:
        UserError: There is no such folder or dataset, or no such revision of it.
    """
    folder = Path(path).expanduser()
    if folder.is_dir():
        return folder
    wanted = None if patterns is None else list(patterns)
    try:
        snapshot = snapshot_download(path, repo_type="dataset", revision=revision, allow_patterns=wanted)
    except RevisionNotFoundError as error:
        raise UserError(
            f"{key}.revision: {path} has no revision '{revision}'. Give a commit, tag or branch of it, or leave it out "
            "for the newest."
        ) from error
    except HFValidationError as error:
        raise UserError(
            f"{key}.path: {path} is neither a folder nor like a hub id. Give a dataset's folder, or OWNER/NAME."
        ) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().split("\n")[0][:200]
        raise UserError(
            f"{key}.path: {path} is neither a folder nor a dataset that the hub gives ({reason}). "
            "Give a folder in the hub's dataset layout, or a hub id and a connection."
        ) from error
    return Path(snapshot)


def split_of(path: Path) -> str:
    """Returns the split that a file's name says, as the hub reads it: `train` of `train-00000-of-00008.parquet`."""
    return _splits_of(path)[0]


def _splits_of(path: Path) -> tuple[str, ...]:
    """Returns what a file's split may be called: by its own name, or by its folder's."""
    named = _SPLIT_FILE.fullmatch(path.name)
    return (named["split"] if named else path.stem, path.parent.name)


def _damaged(key: str, path: Path, error: Exception) -> str:
    return f"{key}.path: {path} cannot be read ({' '.join(str(error).split())[:200]}). Get the file again."


def file_inside(folder: Path, name: str) -> Path | None:
    """Returns the file that a row names, or None where it leads out of the folder or there is no such file."""
    try:
        path = (folder / name).resolve()
        return path if path.is_relative_to(folder.resolve()) and path.is_file() else None
    except (OSError, ValueError, RuntimeError):  # a name that no file can have, or a link to itself
        return None
