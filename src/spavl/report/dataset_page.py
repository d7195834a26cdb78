"""Writes the page of a dataset that nothing is trained on yet: `report/dataset.html`, and its figures for machines."""

import json
from types import SimpleNamespace

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from spavl.config import RunConfig
from spavl.report import dataset_tables, tables
from spavl.report.assets import asset
from spavl.report.figures import domains_figure, responders_figure
from spavl.report.gather import Built, gather_dataset
from spavl.report.summary import dataset_summary
from spavl.report.write import ReportPaths
from spavl.store import RunDirectory
from spavl.store.files import write_atomically


def write_dataset_report(run: RunDirectory, config: RunConfig) -> ReportPaths:
    """Writes the report of a finished dataset; the same run gives the same bytes.

    Raises:
        UserError: A station of the build is not finished.
        RunError: The disk is full.
    """
    data = gather_dataset(run, config)
    page, summary_file = run.path / "report" / "dataset.html", run.path / "report" / "dataset.json"
    figures, verdict = dataset_summary(data), verdict_of(data)
    write_atomically(page, _render(data, verdict).encode())
    write_atomically(summary_file, json.dumps(figures, indent=2, ensure_ascii=False).encode() + b"\n")
    return ReportPaths(page, summary_file, verdict, figures)


def verdict_of(data: Built) -> str:
    """Says in a sentence what there is."""
    dataset = data.dataset
    judging = dataset.judging
    pictures = sum(one.pictures for one in dataset.sources)
    return (
        f"{judging.agreed} preference pairs, from {judging.drawn} pairs of responses that {judging.judge or 'nobody'} "
        f"compared in both orders; {pictures} pictures, {len(dataset.responders)} responders."
    )


def _render(data: Built, verdict: str) -> str:
    environment = Environment(
        loader=PackageLoader("spavl.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    figures = SimpleNamespace(
        domains=domains_figure(data.dataset.coverage), responders=responders_figure(data.dataset.responders)
    )
    return environment.get_template("dataset.html.j2").render(
        data=data,
        verdict=verdict,
        style=Markup(asset("page.css")),
        figures=figures,
        tables=tables,
        dataset_tables=dataset_tables,
    )
