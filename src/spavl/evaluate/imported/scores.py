"""What is read of another harness's files: a score for each row, and the figure that the harness made of them."""

import math
from pathlib import Path
from typing import NamedTuple

from spavl.errors import UserError
from spavl.evaluate.outcomes import Outcome
from spavl.evaluation_config import ImportedConfig
from spavl.store.manifest import hash_file


class ImportedRow(NamedTuple):
    """One row of a benchmark, as a harness scored it."""

    row: str
    """What it is called there; the same row of two models has the same name."""
    score: float | None
    """From 0 to 1; None where the outcome is missing."""
    outcome: Outcome
    unit: str = ""
    """What it shares with other rows, such as a picture; empty where it stands alone."""


class ImportedFile(NamedTuple):
    """A file that was read."""

    name: str
    sha256: str


class Reported(NamedTuple):
    """A harness's own figure, in its own unit and without an interval."""

    value: float
    metric: str
    """As the harness calls it."""
    n: int | None
    """Rows behind it, where the harness says so."""


class ImportedScores(NamedTuple):
    """What one harness measured of one model on one benchmark."""

    config: ImportedConfig
    metric: str
    """The rows' score, or else the figure, as the harness calls it."""
    rows: tuple[ImportedRow, ...] | None
    """None where the harness's own figure is all there is."""
    reported: Reported | None
    """None where it was not given."""
    files: tuple[ImportedFile, ...]


def file_at(field: str, path: Path) -> ImportedFile:
    """Returns a file's name and digest.

    Raises:
        UserError: There is no such file.
    """
    if not path.is_file():
        raise UserError(f"{field}: {path} is not a file. Give the file that the harness wrote.")
    return ImportedFile(path.name, hash_file(path))


def read_score(where: str, value: object) -> float | None:
    """Returns a score from 0 to 1; None for an empty cell.

    Raises:
        UserError: It is something else.
    """
    if value is None or value == "":
        return None
    said = {"true": 1.0, "false": 0.0}.get(str(value).lower())
    try:
        score = float(str(value)) if said is None else said
    except ValueError:
        score = math.inf
    if math.isnan(score):
        return None
    if not 0 <= score <= 1:
        raise UserError(
            f"{where}: {str(value)[:60]!r} is no score from 0 to 1. Name another `metric`, or leave `rows` out."
        )
    return score


def read_figure(where: str, value: object) -> float:
    """Returns a harness's own figure.

    Raises:
        UserError: It is not a number.
    """
    try:
        figure = float(str(value))
    except ValueError:
        figure = math.nan
    if math.isnan(figure):
        raise UserError(
            f"{where}: {str(value)[:60]!r} is not a number. Name another as `figure`, or leave `scores` out."
        )
    return figure


def once(where: str, rows: list[ImportedRow]) -> tuple[ImportedRow, ...]:
    """Returns the rows, each of which must have a name of its own.

    Raises:
        UserError: There are none, or two of one name.
    """
    if not rows:
        raise UserError(f"{where} holds no rows. Give the file of a run that is through.")
    seen: set[str] = set()
    for one in rows:
        if one.row in seen:
            raise UserError(f"{where}: row {one.row} stands there twice. Give the file of one run.")
        seen.add(one.row)
    return tuple(rows)
