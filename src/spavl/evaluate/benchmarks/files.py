"""Reads the files that benchmarks come in, and says in one line what is wrong with one that cannot be read."""

import codecs
import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from spavl.errors import UserError
from spavl.store.split_files import UNREADABLE, check_parts
from spavl.strict_csv import parse_csv

ROWS_AT_ONCE = 100
LONGEST_FIELD = 1 << 28
"""Characters of a table's cell, which may hold a picture."""


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


def find_parquet(folder: Path, *places: str) -> list[Path]:
    """Returns the files of a split in the first of some places, such as `test/harm`: whole, or in numbered parts.

    Raises:
        UserError: None of them is there, or a part is missing.
    """
    for place in places:
        found = sorted({*folder.glob(f"{place}.parquet"), *folder.glob(f"{place}-*.parquet")})
        if found:
            check_parts(found)
            return found
    wanted = ", ".join(f"{place}-*.parquet" for place in places)
    raise UserError(f"{folder} has none of {wanted}. Give the folder that the benchmark's files lie in.")


def read_text(path: Path) -> str:
    """Returns a text file, unpacked where its name ends in `.gz`.

    Raises:
        UserError: It cannot be opened, or is not UTF-8.
    """
    try:
        content = path.read_bytes()
        return (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_utf8(path, error) from error
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read ({error}). Get the file again.") from error


def read_json(path: Path) -> Any:  # noqa: ANN401  # JSON
    """Returns what a JSON file holds.

    Raises:
        UserError: It cannot be read, is not JSON, or has an object with one key twice.
    """
    return _parsed(path, read_text(path))


def read_objects(path: Path, within: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields (key, or place from 0; object) of a JSON file that holds many: in a list, or each under a key.

    Args:
        path: The file.
        within: Key that they lie under; empty if they are the whole file.

    Raises:
        UserError: The file cannot be read, or holds no objects there.
    """
    held = read_json(path)
    if within:
        held = held.get(within) if isinstance(held, dict) else None
    if isinstance(held, list):
        held = {str(place): one for place, one in enumerate(held)}
    where = f"under `{within}`" if within else "in a list or under keys"
    if not isinstance(held, dict):
        raise UserError(f"{path}: JSON objects are expected {where}. Get the file again.")
    for key, one in held.items():
        if not isinstance(one, dict):
            raise UserError(f"{path}: `{key}` is not a JSON object. Get the file again.")
        yield key, one


def read_json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (line number from 1, object) of a file with a JSON object a line.

    Raises:
        UserError: The file cannot be read, or a line is no JSON object or has one key twice.
    """
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        row = _parsed(path, line, number)
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}: a JSON object is expected. Get the file again.")
        yield number, row


def read_csv(path: Path, columns: Sequence[str], delimiter: str = ",") -> Iterator[tuple[int, dict[str, str]]]:
    """Yields (row number from 1, row) of a table with a heading, a row at a time.

    Raises:
        UserError: The file cannot be read, or lacks a column; or a quotation mark is not closed.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = parse_csv(file, delimiter, LONGEST_FIELD)
            _check_columns(path, columns, table.columns)
            for number, (_, row) in enumerate(table.rows, 1):
                yield number, {name: value or "" for name, value in row.items() if name is not None}
    except UnicodeDecodeError as error:
        raise _not_utf8(path, error) from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}). Get the file again.") from error


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
    except UNREADABLE as error:
        raise UserError(f"{path} cannot be read ({' '.join(str(error).split())[:200]}). Get the file again.") from error


class _RepeatedKeyError(ValueError):
    pass


def _parsed(path: Path, written: str, line: int = 0) -> Any:  # noqa: ANN401  # JSON
    """Returns a JSON value: a whole file's, or a line's."""
    where = f"{path}, line {line}" if line else f"{path}"
    try:
        return json.loads(written, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {line or error.lineno}: not JSON ({error.msg}). Get the file again.") from error
    except RecursionError as error:
        raise UserError(f"{where}: brackets inside brackets, too many to read. Get the file again.") from error
    except _RepeatedKeyError as error:
        raise UserError(
            f"{where}: the key {error} stands twice in one object, and only one of the two could be read. Get the file "
            "again, or give one of them another name."
        ) from error


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    held: dict[str, Any] = {}
    for key, value in pairs:
        if key in held:
            raise _RepeatedKeyError(repr(key))
        held[key] = value
    return held


def _not_utf8(path: Path, error: UnicodeDecodeError) -> UserError:
    encoding = "utf-16" if error.object.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "latin1"
    return UserError(
        f"{path} is not UTF-8 (byte 0x{error.object[error.start]:02x}). "
        f"Get the file again, or convert it: iconv -f {encoding} -t utf-8."
    )


def _check_columns(path: Path, wanted: Sequence[str], there: Sequence[str]) -> None:
    lacking = [name for name in wanted if name not in there]
    if lacking:
        raise UserError(f"{path} has no column {', '.join(lacking)}; it has {', '.join(there)}. Get the file again.")
