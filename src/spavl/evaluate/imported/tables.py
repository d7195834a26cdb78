"""Reads the tables that VLMEvalKit writes: xlsx, tsv, csv, and JSON in any of its three forms."""

import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

from spavl.errors import UserError
from spavl.evaluate.benchmarks.files import read_csv, read_json

try:
    from openpyxl import load_workbook
except ImportError:
    load_workbook = None


Row = Mapping[str, Any]


def read_table(field: str, path: Path) -> list[Row]:
    """Returns a table's rows: column -> value; an empty cell is None or an empty text.

    Raises:
        UserError: The file is damaged or of another kind, or openpyxl is not installed.
    """
    reader = _READERS.get(path.suffix)
    if reader is None:
        raise UserError(f"{field}: {path.name} is none of {', '.join(_READERS)}. Give a table that VLMEvalKit wrote.")
    return reader(path)


def _read_xlsx(path: Path) -> list[Row]:
    if load_workbook is None:
        raise UserError(f"{path} needs openpyxl, which is not installed. Run `pip install 'spavl[xlsx]'`.")
    try:
        book = load_workbook(path, read_only=True, data_only=True)
        cells = [list(row) for row in book.worksheets[0].iter_rows(values_only=True)]
        book.close()
    except (OSError, KeyError, ValueError, IndexError, EOFError, ParseError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} cannot be read ({error}). Get the file again.") from error
    if not cells:
        return []
    names = [str(name) for name in cells[0]]
    return [dict(zip(names, row, strict=False)) for row in cells[1:]]


def _read_tsv(path: Path) -> list[Row]:
    return [row for _, row in read_csv(path, (), delimiter="\t")]


def _read_csv(path: Path) -> list[Row]:
    return [row for _, row in read_csv(path, ())]


def _read_json(path: Path) -> list[Row]:
    """Reads a list of rows, columns with their values, or `columns` and `data`."""
    held = read_json(path)
    if isinstance(held, list) and all(isinstance(row, dict) for row in held):
        return held
    if isinstance(held, dict) and {"columns", "data"} <= held.keys():
        return [dict(zip(held["columns"], row, strict=True)) for row in _checked(path, held["data"])]
    if isinstance(held, dict) and all(isinstance(column, list) for column in held.values()):
        return [dict(zip(held, row, strict=True)) for row in zip(*_checked(path, list(held.values())), strict=True)]
    if isinstance(held, dict) and not any(isinstance(value, dict | list) for value in held.values()):
        return [held]
    raise _no_table(path)


def _checked(path: Path, lists: object) -> Sequence[Sequence[Any]]:
    if not isinstance(lists, list) or len({len(one) if isinstance(one, list) else -1 for one in lists}) > 1:
        raise _no_table(path)
    return lists


def _no_table(path: Path) -> UserError:
    return UserError(f"{path}: neither rows nor columns of equal length. Give a table that VLMEvalKit wrote.")


_READERS: Mapping[str, Callable[[Path], list[Row]]] = {
    ".xlsx": _read_xlsx,
    ".tsv": _read_tsv,
    ".csv": _read_csv,
    ".json": _read_json,
}
