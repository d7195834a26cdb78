"""The table of what other harnesses measured: their scores beside ours, and said to be theirs."""

from collections.abc import Sequence

from spavl.evaluate.figures import EvaluationFigures
from spavl.evaluate.imported import ImportedMeasure
from spavl.report.tables import Cell, Table
from spavl.report.wording import NOT_MEASURED, change_text, flags_text, p_text, rate_text


def imported_table(figures: EvaluationFigures) -> Table | None:
    """Returns what was imported, a row for each benchmark and model; None where nothing was."""
    rows: list[Sequence[Cell]] = [_row(one, model) for one in figures.imported for model in one.files]
    note = (
        "Not measured here. Rates are worked out from the harness’s own scores of each row, paired by row; what its "
        "model did not answer, or what could not be read, is missing, where the harness counts it as wrong or draws a "
        "choice. Where no rows were given there is no interval. As reported: the harness’s own figure, in its own unit."
    )
    headings = ("Benchmark", "Harness", "Model", "Rate", "Missing", "Change", "As reported", "Read from")
    return Table("Imported: scores that other harnesses measured", headings, rows, note) if rows else None


def _row(one: ImportedMeasure, model: str) -> Sequence[Cell]:
    figure = one.measure.models.get(model) if one.measure else None
    rate = f"{rate_text(figure.rate, 1)}{flags_text(figure.rate.few_units, figure.flags)}" if figure else NOT_MEASURED
    reported = one.reported.get(model)
    said = f"{reported.metric} {reported.value:g}{f', n {reported.n}' if reported.n else ''}" if reported else "–"
    files = ", ".join(f"{file.name} ({file.sha256[:8]})" for file in one.files[model])
    missing = figure.rate.unscored if figure else "–"
    return f"{one.benchmark}, {one.metric}", one.harness, model, rate, missing, _change(one, model), said, files


def _change(one: ImportedMeasure, model: str) -> str:
    against = one.measure.changes.get(model) if one.measure else None
    if against is None:
        return "–"
    if against.withheld:
        return f"withheld: {', '.join(against.flags)}"
    if against.change is None:
        return NOT_MEASURED
    held = f"; {against.not_inferior}" if against.not_inferior else ""
    return f"{change_text(against.change)}, p {p_text(against.change)}{held}"
