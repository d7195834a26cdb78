"""Tables in VLMEvalKit's form: a TSV whose cells hold the question, its answer, and the picture in base64."""

import ast
import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from spavl.evaluate.benchmarks.files import find_file, read_csv

SHORTEST_PICTURE = 64
"""Characters; a shorter cell is the index of an earlier row with the same picture."""


class TableRow(NamedTuple):
    """One row of a table."""

    cells: Mapping[str, str]
    """Column -> text; empty where the table says `nan`."""
    picture: bytes | None
    """None where the cell holds no picture, or several."""


def read_table(folder: Path, names: Sequence[str], columns: Sequence[str]) -> Iterator[TableRow]:
    """Yields the rows of the first TSV that is there.

    Raises:
        UserError: None is there, or it lacks a column.
    """
    path = find_file(folder, *(f"{name}.tsv" for name in names))
    wanted = ("index", "image", *columns)
    short = (row["image"] for _, row in read_csv(path, wanted, delimiter="\t"))
    shared = {cell for cell in short if len(cell) <= SHORTEST_PICTURE}
    kept: dict[str, str] = {}
    for _, row in read_csv(path, wanted, delimiter="\t"):
        held = row.pop("image")
        if len(held) <= SHORTEST_PICTURE:
            held = kept.get(held, "")
        elif row["index"] in shared:
            kept[row["index"]] = held
        yield TableRow({name: _filled(cell) for name, cell in row.items()}, _decoded(held))


def list_cell(cell: str) -> tuple[str, ...]:
    """Returns what a cell lists: the parts of a Python list, or the cell alone."""
    if cell.startswith("["):
        try:
            return tuple(str(one) for one in ast.literal_eval(cell))
        except (ValueError, SyntaxError, TypeError):
            return (cell,)  # a text that begins with a bracket
    return (cell,) if cell else ()


def _filled(cell: str) -> str:
    return "" if cell.strip().lower() == "nan" else cell.strip()


def _decoded(cell: str) -> bytes | None:
    try:
        return base64.b64decode(cell, validate=True) or None
    except (binascii.Error, ValueError):
        return None
