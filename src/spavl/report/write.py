"""Writes a finished run's report: `report/index.html` for people and `summary.json` for machines."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from spavl.config import RunConfig
from spavl.report.gather import gather
from spavl.report.page import render_page
from spavl.report.summary import summary
from spavl.report.training import tally_training
from spavl.report.wording import alarm_line, verdict_line
from spavl.store import RunDirectory
from spavl.store.files import write_atomically


class ReportPaths(NamedTuple):
    """Where the report lies, and what it says."""

    page: Path
    summary_file: Path
    verdict: str
    """What was measured, in a few sentences, and an alarm of the training."""
    summary: dict[str, Any]


def write_report(run: RunDirectory, config: RunConfig) -> ReportPaths:
    """Writes the report of a finished run; the same run gives the same bytes.

    Raises:
        UserError: A station is not finished.
        RunError: The disk is full.
    """
    data = gather(run, config)
    page, summary_file = run.path / "report" / "index.html", run.path / "summary.json"
    figures = summary(data)
    write_atomically(page, render_page(data).encode())
    write_atomically(summary_file, json.dumps(figures, indent=2, ensure_ascii=False).encode() + b"\n")
    verdict = verdict_line(data.evaluation.results, config.evaluate.confidence)
    alarm = alarm_line(tally_training(data.steps))
    return ReportPaths(page, summary_file, f"{verdict} {alarm}".rstrip(), figures)
