"""Another run of the same data beside this one: the same questions, read by the same judge, after another training."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from spavl.errors import SpavlError
from spavl.evaluate import ContestResult, evaluation_results
from spavl.evaluate.results import BeforeAfter
from spavl.records import Answer, Sample, Verdict
from spavl.store import Manifest, RunDirectory
from spavl.store.manifest import hash_file

SAME = {"dataset": "dataset", "samples": "questions"}
"""Stages whose results must be the same, and what they are called."""


class Beside(NamedTuple):
    """What another run measured, or why it does not stand here."""

    name: str
    method: str
    """How its model was aligned."""
    metrics: Mapping[str, BeforeAfter]
    why_not: str = ""


def read_beside(run: Path, other: Path, judge: str, confidence: float) -> Beside:
    """Reads what another run measured.

    Args:
        run: The run that is reported.
        other: The other one's directory.
        judge: Who read this run's answers.
        confidence: Level of every interval.
    """
    try:
        why_not = _differs(run, other, judge)
        if why_not:
            return Beside(other.name, "", {}, why_not)
        directory = RunDirectory(other, 0)
        verdicts, contests = directory.records("verdicts", Verdict), directory.records("contests", ContestResult)
        samples, answers = directory.records("samples", Sample), directory.records("answers", Answer)
        results = evaluation_results(samples, answers, verdicts, contests, confidence)
        method = json.loads((other / "train" / "results.jsonl").read_bytes().splitlines()[0])["item"]
    except (OSError, SpavlError, ValueError, LookupError) as error:
        return Beside(other.name, "", {}, f"it cannot be read ({' '.join(str(error).split())[:120]})")
    return Beside(other.name, method, results.metrics)


def _differs(run: Path, other: Path, judge: str) -> str:
    """Returns in what another run differs so that its figures say something else; nothing where it does not."""
    for stage, what in SAME.items():
        if hash_file(run / stage / "results.jsonl") != hash_file(other / stage / "results.jsonl"):
            return f"its {what} are others"
    manifest = Manifest.model_validate_json((other / "verdicts" / "manifest.json").read_bytes())
    theirs = manifest.facts["judge"]["name"]
    return "" if theirs == judge else f"its judge is {theirs}"
