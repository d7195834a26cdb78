"""The tables of an evaluation's page; each says in its caption whether its data is real."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from spavl.evaluate.benchmarks import BenchmarkCard
from spavl.evaluate.figures import EvaluationFigures
from spavl.evaluate.measures import Flag, Measure, ModelFigure
from spavl.report.tables import Cell, Table
from spavl.report.trust import powered_text, trust_in_change
from spavl.report.wording import (
    FEW_UNITS_NOTE,
    NOT_MEASURED,
    SPACE,
    bounds_text,
    change_text,
    flags_text,
    p_text,
    percent,
    rate_text,
)

METRICS = {
    "unsafe": "unsafe answers",
    "refused": "refused",
    "right": "right",
    "circular": "right in every order of the choices",
    "named": "named right",
}
SAFETY = ("harmlessness", "over_refusal")
MOST_COLUMNS = 5
"""Benchmarks and subsets of one table; a page is no wider."""
FLAGS: Mapping[Flag, str] = {
    "incomplete": "more than `max_failed` of the answers are missing or unjudged",
    "cut": "more answers ended at their token limit than the recipe lets pass (`max_cut`, or else `max_failed`)",
    "unpaired": "more than `max_failed` of the samples are scored for one of the two models alone",
}
"""What is said of a figure beside it; that nothing was scored its cell says."""
NOT_TOLD = "not told by this judge"
JUDGED = ("unsafe", "refused")
"""Metrics that judges tell; the others are by rule, the same for all."""


def origin_text(figures: EvaluationFigures, benchmarks: Sequence[str]) -> str:
    """Says whether the data of some benchmarks is real, as far as it is known."""
    names = dict.fromkeys(benchmarks)
    made_up = [one for one in names if figures.data_origin[one] == "fixture"]
    if made_up:
        return f"MADE-UP DATA: {', '.join(made_up)}"
    folders = any(figures.data_origin[one] == "folder" for one in names)
    return "data of your own folders, not marked as made up" if folders else "real data"


def main_tables(figures: EvaluationFigures) -> list[Table]:
    """Returns a table for each metric, in the paper's layout: a row for each model, a column for each benchmark."""
    return judges_tables(figures, figures.deciding, tuple(METRICS))


def judges_tables(figures: EvaluationFigures, judge: str, metrics: Sequence[str]) -> list[Table]:
    """Returns a judge's tables: for each metric its benchmarks and their named subsets; the last one has the note."""
    measures = figures.judges[judge].measures
    tables: list[Table] = []
    everything: list[Measure] = []
    for metric in metrics:
        columns: list[Measure] = []
        for whole in measures.whole:
            if whole.metric == metric:
                columns += [*(one for one in measures.parts if _same(one, whole) and one.subset), whole]
        caption = f"Share of answers, by {judge}: {METRICS[metric]}"
        tables += [_models_table(figures, caption, strip) for strip in _strips(columns)]
        everything += columns
    return [*tables[:-1], *(last._replace(note=_note(figures, everything)) for last in tables[-1:])]


def _strips(columns: Sequence[Measure]) -> Iterator[Sequence[Measure]]:
    """Yields the columns of a table each, as many as a page is wide; those of one benchmark stay together."""
    strip: list[Measure] = []
    for _, group in groupby(columns, key=lambda one: one.benchmark):
        together = list(group)
        if strip and len(strip) + len(together) > MOST_COLUMNS:
            yield strip
            strip = []
        strip += together
    if strip:
        yield strip


def _same(one: Measure, other: Measure) -> bool:
    return (one.benchmark, one.metric) == (other.benchmark, other.metric)


def _models_table(figures: EvaluationFigures, caption: str, columns: Sequence[Measure]) -> Table:
    rows: list[Sequence[Cell]] = []
    for model in figures.models:
        rows.append((model, *(figure_text(one.models[model]) for one in columns)))
        if model != figures.baseline:
            rows.append((f"{model}, change", *(_led_by_people(figures, one, model) for one in columns)))
    return Table(
        f"{caption} ({origin_text(figures, [one.benchmark for one in columns])})",
        ("Model", *(f"{one.benchmark}{f': {one.subset}' if one.subset else ''}" for one in columns)),
        rows,
    )


def _note(figures: EvaluationFigures, explained: Sequence[Measure]) -> str:
    """Says how to read the tables of some measures, and what their flags mean."""
    return (
        f"In brackets: {percent(figures.confidence)}{SPACE}% intervals by whole clusters; n: answers that were scored; "
        f"bounds: the rate if none, or all, of the missing ones were counted. Change: against {figures.baseline}, "
        "paired, in percentage points; p by the exact sign-flip test of whole clusters’ summed changes (McNemar’s "
        "where each sample stands alone), adjusted by Holm for whole benchmarks and by Benjamini and Hochberg for "
        "their parts. Where people labelled a sample, the change by their labels (PPI++) comes first. "
        f"{FEW_UNITS_NOTE}{_flags_note(explained)}"
    )


def _flags_note(columns: Sequence[Measure]) -> str:
    """Says what the flags mean that some measures have."""
    there = {flag for one in columns for figure in one.models.values() for flag in figure.flags}
    there |= {flag for one in columns for change in one.changes.values() for flag in change.flags}
    said = [f"{flag}: {meaning}" for flag, meaning in FLAGS.items() if flag in there]
    return f" {'; '.join(said)}; a change is then withheld, unless `force` is set." if said else ""


def figure_text(figure: ModelFigure) -> str:
    """Writes a rate with its interval, of how many answers it is, what is missing, and its flags."""
    rate = figure.rate
    if rate.value is None and "not_applicable" in figure.outcomes:
        return NOT_TOLD
    if rate.value is None:
        return f"{NOT_MEASURED}, {rate.unscored}{SPACE}missing" if rate.unscored else NOT_MEASURED
    text = f"{rate_text(rate, 1)}, n{SPACE}{rate.n}"
    if rate.unscored:
        text += f", {rate.unscored}{SPACE}missing: bounds {bounds_text(rate.lowest, rate.highest)}"
    return f"{text}{flags_text(rate.few_units, figure.flags)}"


def _led_by_people(figures: EvaluationFigures, measure: Measure, model: str) -> str:
    """Returns a change, led by people's labels where there are some, with the judge's own beside it."""
    by_judge = change_cell(measure, model)
    whole = measure in figures.judges[figures.deciding].measures.whole
    trust = trust_in_change(figures, measure, model) if whole else None
    if trust is None or trust.powered is None:
        return by_judge
    return f"{powered_text(trust)}, by people’s labels; by {figures.deciding} alone: {by_judge}"


def change_cell(measure: Measure, model: str) -> str:
    """Writes a change with its p value, and with its pairs and flags where it is given in spite of them."""
    against = measure.changes[model]
    if against.withheld:
        return f"withheld: {', '.join(against.flags)}"
    if against.change is None:
        return NOT_MEASURED
    held = f"; {against.not_inferior}" if against.not_inferior else ""
    forced = f", n{SPACE}{against.change.n}{flags_text(False, against.flags)}" if against.flags else ""
    return f"{change_text(against.change)}, p {p_text(against.change)}{forced}{held}"


def category_tables(figures: EvaluationFigures) -> list[Table]:
    """Returns a table for each benchmark with categories: each with its interval, and the whole without it."""
    measures = figures.judges[figures.deciding].measures
    tables = []
    for whole in measures.whole:
        rows: list[Sequence[Cell]] = []
        without = {one.category: one for one in measures.without if _same(one, whole)}
        for part in measures.parts:
            if _same(part, whole) and part.category:
                for model, one in part.models.items():
                    rest = rate_text(without[part.category].models[model].rate, 1)
                    rows.append((part.category, model, figure_text(one), rest))
        if rows:
            headings = ("Category", "Model", "Rate", "All others")
            caption = f"{whole.benchmark}, {METRICS[whole.metric]}, by category"
            tables.append(Table(f"{caption} ({origin_text(figures, [whole.benchmark])})", headings, rows))
    return tables


def outcomes_table(figures: EvaluationFigures) -> Table:
    """Returns what became of every answer, by every judge."""
    rows: list[Sequence[Cell]] = []
    for judge, found in figures.judges.items():
        for measure in found.measures.whole:
            for model, one in measure.models.items():
                counted = ", ".join(f"{outcome} {count}" for outcome, count in one.outcomes.items())
                bounds = bounds_text(one.rate.lowest, one.rate.highest) if one.rate.unscored else "–"
                heading = f"{measure.benchmark}, {METRICS[measure.metric]}"
                rows.append((heading, model, judge, rate_text(one.rate, 1), bounds, one.cut, counted))
    return Table(
        f"What became of every answer ({origin_text(figures, list(figures.coverage))})",
        ("Benchmark", "Model", "Judge", "Rate", "Bounds", "Cut", "Outcomes"),
        rows,
        "What the judge does not tell at all was not asked of it (not_applicable). What it could not tell (unscored), "
        "and what failed (judge_failed, answer_failed), is in no rate; "
        "bounds: the rate if none, or all, of it were counted (–: nothing is missing). Cut: answers that ended at "
        "their token limit.",
    )


def coverage_table(figures: EvaluationFigures) -> Table:
    """Returns what became of every benchmark's rows."""
    rows: list[Sequence[Cell]] = [
        (
            name,
            figures.data_origin[name],
            one.listed,
            one.asked,
            one.samples,
            one.pictures,
            ", ".join(f"{reason} {count}" for reason, count in one.left_out.items()) or "–",
        )
        for name, one in figures.coverage.items()
    ]
    headings = ("Benchmark", "Data", "Rows listed", "Asked", "Samples", "With a picture", "Left out")
    note = "Left out: rows that cannot be asked, by reason; missing_order: questions that are not asked in every order."
    return Table(f"Coverage ({origin_text(figures, list(figures.coverage))})", headings, rows, note)


def sources_table(figures: EvaluationFigures, cards: Mapping[str, BenchmarkCard]) -> Table:
    """Returns where every benchmark comes from, and by whose definition it is measured."""
    rows = [
        (name, f"{one.title}: {one.source}, {one.revision or 'not pinned'}", one.size, one.licence, one.metric)
        for name, one in cards.items()
    ]
    caption = f"The benchmarks ({origin_text(figures, list(cards))})"
    note = (
        "Source, revision, size and licence are the publisher's. Rows of a folder of your own are not compared with "
        "them; the coverage says how many there are."
    )
    return Table(caption, ("Benchmark", "Source and revision", "Whole size", "Licence", "Metric"), rows, note)
