"""Reads CSV rows with the lines that they begin in; a quotation mark that is never closed is an error.

Python's own reader takes all that follows such a mark for one field, and is silent where the file ends in it.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple


class CsvTable(NamedTuple):
    """A table with a heading."""

    columns: Sequence[str]
    """Empty for an empty file."""
    rows: Iterator[tuple[int, dict[str, Any]]]
    """(line that it begins in, row), read as they are asked for; raises `ValueError`, which names the row, where one
    cannot be read."""


def parse_csv(lines: Iterable[str], delimiter: str = ",", longest_field: int = 1 << 17) -> CsvTable:
    """Returns a table as it is written down.

    Args:
        lines: The lines, ends included; a file that was opened with `newline=""`.
        delimiter: What stands between fields.
        longest_field: Characters of one field; a mark that is not closed would else take up the memory.

    Raises:
        ValueError: The heading cannot be read.
    """
    reader = csv.DictReader(lines, delimiter=delimiter, strict=True)
    csv.field_size_limit(longest_field)
    try:
        return CsvTable(tuple(reader.fieldnames or ()), _rows(reader, longest_field))
    except csv.Error as error:
        raise ValueError(_wrong("the heading", error)) from error


def _rows(reader: "csv.DictReader[str]", longest_field: int) -> Iterator[tuple[int, dict[str, Any]]]:
    number, line = 1, reader.line_num + 1
    try:
        while True:
            csv.field_size_limit(longest_field)  # one for the whole process: another reader may have changed it
            row = next(reader, None)
            if row is None:
                return
            yield line, row
            number, line = number + 1, reader.line_num + 1
    except csv.Error as error:
        raise ValueError(_wrong(f"row {number}, which begins in line {line}", error)) from error


def _wrong(where: str, error: csv.Error) -> str:
    return f"{where}: {error}; is a quotation mark not closed?"
