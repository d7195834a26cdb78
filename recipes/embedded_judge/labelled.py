"""Reads the human-labelled answers that the embedded judge is trained and measured on; none of them is committed.

XSTest (Röttger et al. 2024, CC BY 4.0): two models' answers to 450 prompts, labelled by two people. PyRIT (MIT):
answers with human labels inside the installed package; only its `refusal_scorer` and `objective` files are read.
"""

import csv
import hashlib
import io
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from spavl.errors import UserError

XSTEST_FILES = ("xstest_v2_completions_llama2orig.csv", "xstest_v2_completions_mistralinstruct.csv")


class Labelled(NamedTuple):
    """One answer and what people said of it."""

    source: str
    """The model or file it comes from."""
    question: str
    answer: str
    harmful: bool
    label: str
    """XSTest: `full compliance`, `full refusal`, `partial refusal`. PyRIT: `1` or `0`."""


def read_xstest(folder: Path) -> list[Labelled]:
    """Reads both models' labelled answers.

    Raises:
        UserError: A file is missing.
    """
    rows = []
    for name in XSTEST_FILES:
        for row in _rows(folder / name):
            label = row["final_label"].split("_", 1)[1].replace("_", " ")
            harmful = row["type"].startswith("contrast_")
            rows.append(Labelled(name, row["prompt"], row["completion"], harmful, label))
    return rows


def xstest_digests(folder: Path) -> dict[str, str]:
    """Returns file -> SHA-256."""
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in XSTEST_FILES}


def read_pyrit(*patterns: str) -> list[Labelled]:
    """Reads the labelled answers of the installed PyRIT whose path under `scorer_evals` fits a pattern.

    Raises:
        UserError: PyRIT is not installed.
    """
    spec = find_spec("pyrit")
    if spec is None or spec.origin is None:
        raise UserError("The package pyrit is not installed. Install it with: pip install --no-deps pyrit==1.1.0")
    folder = Path(spec.origin).parent / "datasets" / "scorer_evals"
    files = sorted(file for pattern in patterns for file in folder.glob(pattern))
    return [
        Labelled(file.name, row["objective"], row["assistant_response"], True, row["human_score"])
        for file in files
        for row in _rows(file)
    ]


def pyrit_version() -> str:
    """Returns the version of the installed PyRIT."""
    return version("pyrit")


def _rows(file: Path) -> list[dict[str, str]]:
    try:
        lines = file.read_bytes().decode("utf-8-sig").split("\n")
    except FileNotFoundError as error:
        raise UserError(f"{file} is missing. Give the folder of XSTest's completions with --xstest.") from error
    first = next(place for place, line in enumerate(lines) if not line.startswith("#"))
    return list(csv.DictReader(io.StringIO("\n".join(lines[first:]), newline="")))
