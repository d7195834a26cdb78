"""Reads the files that benchmarks come in, and says in one line what is wrong with one that cannot be read."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from spavl.errors import UserError
from spavl.evaluate.benchmarks.base import Unusable
from spavl.records import Failure

ROWS_AT_ONCE = 100


def find_file(folder: Path, *places: str) -> Path:
    """Returns the first of some files that is there; a place may be a pattern.

    Raises:
        UserError: None is.
    """
    for place in places:
        found = sorted(folder.glob(place))
        if found:
            return found[0]
    raise UserError(f"{folder} has none of {', '.join(places)}. Give the folder that the benchmark's files lie in.")


def read_text(path: Path) -> str:
    """Returns a text file.

    Raises:
        UserError: It cannot be opened, or is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8 (byte {error.start} is 0x{error.object[error.start]:02x}). "
            "Get the file again, or convert it: iconv -f latin1 -t utf-8."
        ) from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}). Get the file again.") from error


def read_json(path: Path) -> Any:  # noqa: ANN401  # JSON
    """Returns what a JSON file holds.

    Raises:
        UserError: It cannot be read, or is not JSON.
    """
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}: not JSON ({error.msg}). Get the file again.") from error


def read_json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (line number from 1, object) of a file with a JSON object a line.

    Raises:
        UserError: The file cannot be read, or a line is no JSON object.
    """
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}, line {number}: not JSON ({error.msg}). Get the file again.") from error
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}: a JSON object is expected. Get the file again.")
        yield number, row


def read_csv(path: Path, columns: Sequence[str], delimiter: str = ",") -> Iterator[tuple[int, dict[str, str]]]:
    """Yields (row number from 1, row) of a table with a heading.

    Raises:
        UserError: The file cannot be read, or lacks a column.
    """
    csv.field_size_limit(1 << 28)  # a TSV cell may hold a picture
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), delimiter=delimiter)
    _check_columns(path, columns, reader.fieldnames or ())
    try:
        for number, row in enumerate(reader, 1):
            yield number, {name: value or "" for name, value in row.items() if name is not None}
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}. Get the file again.") from error


def read_parquet(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (row number from 0, row) of a Parquet file.

    Raises:
        UserError: The file is damaged, or lacks a column.
    """
    try:
        with pq.ParquetFile(path) as file:
            _check_columns(path, columns, file.schema_arrow.names)
            number = 0
            for batch in file.iter_batches(ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    yield number, row
                    number += 1
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} cannot be read ({' '.join(str(error).split())[:200]}). Get the file again.") from error


def missing_picture(row: str, place: Path, folder: Path) -> Unusable:
    """Returns the outcome of a row whose picture is not there."""
    return Unusable(row, Failure(reason="missing_picture", message=f"{place.relative_to(folder)} is not there"))


def picture_in(folder: Path, place: str) -> Path | None:
    """Returns the file that a row names, or None where it is not there or lies outside the folder."""
    path = (folder / place).resolve()
    return path if path.is_relative_to(folder.resolve()) and path.is_file() else None


def _check_columns(path: Path, wanted: Sequence[str], there: Sequence[str]) -> None:
    lacking = [name for name in wanted if name not in there]
    if lacking:
        raise UserError(f"{path} has no column {', '.join(lacking)}; it has {', '.join(there)}. Get the file again.")
