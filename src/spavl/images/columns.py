"""Which columns of a source say what, and what a row says about its picture."""

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from spavl.errors import UserError
from spavl.image_config import ColumnNames
from spavl.images.candidates import clean
from spavl.records import Scalar
from spavl.strict_csv import parse_csv
from spavl.texts.visible import whole

CAPTIONS = ("caption", "text")
LICENCES = ("licence", "license")
SIMILARITIES = ("similarity",)
URLS = ("url",)
SAVED_AS = "or save it as Parquet, or as CSV in UTF-8"
LOOKED_AT = 1_000
"""Rows, or members of a tar, that are looked at in each file before anything is spent."""
UNSAID = frozenset({"", "?"})
"""What LAION's tables write where the licence is not known."""


class Columns(NamedTuple):
    """The columns that are read; None where there is none."""

    caption: str | None
    licence: str | None
    similarity: str | None
    keep: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        """Every column once."""
        named = (self.caption, self.licence, self.similarity, *self.keep)
        return tuple(dict.fromkeys(name for name in named if name is not None))


class Described(NamedTuple):
    """What a row says about its picture."""

    caption: str
    licence: str | None
    similarity: float | None
    columns: dict[str, Scalar]


def find_column(names: Sequence[str], field: str, wanted: str | None, usual: Sequence[str]) -> str | None:
    """Returns the column that the configuration names, or else the first usual one that is there, in any case.

    Raises:
        UserError: There is no column of the name that the configuration gives.
    """
    if wanted is not None:
        if wanted not in names:
            raise UserError(f"images.source.{field}: there is no column '{wanted}'; there are {_listed(names)}.")
        return wanted
    found = {name.lower(): name for name in reversed(names)}
    return next((found[name] for name in usual if name in found), None)


def find_columns(names: Sequence[str], config: ColumnNames) -> Columns:
    """Returns the columns that describe pictures.

    Raises:
        UserError: There is no column of a name that the configuration gives.
    """
    for name in config.keep:
        find_column(names, "keep", name, ())
    return Columns(
        caption=find_column(names, "caption_column", config.caption_column, CAPTIONS),
        licence=find_column(names, "licence_column", config.licence_column, LICENCES),
        similarity=find_column(names, "similarity_column", config.similarity_column, SIMILARITIES),
        keep=config.keep,
    )


def needed(column: str | None, names: Sequence[str], field: str, what: str) -> str:
    """Returns a column that has to be there.

    Raises:
        UserError: It is not.
    """
    if column is None:
        raise UserError(
            f"images.source.{field}: no column is known to hold {what}; there are {_listed(names)}. Name one."
        )
    return column


def describe(row: Mapping[str, Any], columns: Columns, config: ColumnNames) -> Described:
    """Returns what a row says; what it leaves out is empty or None, never 0."""
    licence = _text(row, columns.licence)
    return Described(
        caption=_text(row, columns.caption),
        licence=config.licence if licence in UNSAID else licence,
        similarity=_number(row.get(columns.similarity)) if columns.similarity is not None else None,
        columns={name: _scalar(row.get(name)) for name in columns.keep},
    )


def check_captions(path: Path | str, column: str, rows: Iterable[Described]) -> None:
    """Checks that captions stand in the column that is taken for them; rows are read up to the first that has one.

    Raises:
        UserError: There are rows, and none has one.
    """
    number = 0
    for number, row in enumerate(rows, 1):  # noqa: B007  # how many there are is said
        if row.caption:
            return
    if number:
        raise without_captions(path, column, number)


def without_captions(path: Path | str, column: str, rows: int) -> UserError:
    """Returns what is said of a file whose rows have no captions."""
    return UserError(
        f"images.source.caption_column: none of the {rows} rows of {path} has text in column '{column}'. Name the "
        "column that holds captions."
    )


def csv_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (line that it begins in, row) of a CSV file, some in memory at a time.

    Raises:
        ValueError: A row cannot be read; it is named.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield from parse_csv(file).rows


def json_row(text: str) -> dict[str, Any]:
    """Returns the object that a line or a file of JSON holds.

    Raises:
        ValueError: It is no JSON, no object, or too deep.
    """
    try:
        body = json.loads(text)
    except RecursionError as error:
        raise ValueError("brackets inside brackets, too many to read") from error
    if not isinstance(body, dict):
        raise ValueError(f"{text.strip()[:40]!r} is not an object with names and values")
    return body


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Turns what readers of tables raise for a damaged file into one line.

    Raises:
        UserError: The file is damaged, or no text in UTF-8.
    """
    try:
        yield
    except (OSError, ValueError, csv.Error, pa.ArrowException) as error:
        cause = " ".join(str(error).split())[:200]
        raise UserError(
            f"images.source.path: {path} cannot be read ({cause}). Get the file again, {SAVED_AS}."
        ) from error


def _text(row: Mapping[str, Any], column: str | None) -> str:
    value = row.get(column) if column is not None else None
    return clean(value) if isinstance(value, str) else ""


def _number(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]  # anything else raises TypeError
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _scalar(value: object) -> Scalar:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, int | float):
        return value
    return whole(str(value))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "none"
