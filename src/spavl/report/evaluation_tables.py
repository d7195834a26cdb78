"""The tables of an evaluation's page; each says in its caption whether its data is real."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby

from spavl.evaluate.benchmarks import BenchmarkCard
from spavl.evaluate.figures import AblationFigure, Contaminated, EvaluationFigures
from spavl.evaluate.measures import Flag, Measure, ModelFigure
from spavl.evaluate.yes_no import YesNoFigure
from spavl.evaluation_config import Ablation
from spavl.report.imported_table import imported_table
from spavl.report.tables import Cell, Table
from spavl.report.trust import change_points, powered_text, trust_in_change
from spavl.report.wording import (
    FEW_UNITS_NOTE,
    NOT_MEASURED,
    SPACE,
    bounds_text,
    change_text,
    flags_text,
    p_text,
    percent,
    points,
    rate_text,
)
from spavl.stats import Agreement, RatioChange

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
WITHOUT: Mapping[Ablation, str] = {"none": "nothing", "blank": "a white picture", "shuffled": "another’s picture"}
NOT_TOLD = "not told by this judge"
JUDGED = ("unsafe", "refused")
"""Metrics that judges tell; the others are by rule, the same for all."""
YES_NO: Mapping[YesNoFigure, str] = {
    "accuracy": "Accuracy",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "yes_share": "Says yes",
}


def origin_text(figures: EvaluationFigures, benchmarks: Sequence[str]) -> str:
    """Says whether the data of some benchmarks is real."""
    made_up = [one for one in dict.fromkeys(benchmarks) if figures.data_origin[one] == "fixture"]
    return f"MADE-UP DATA: {', '.join(made_up)}" if made_up else "real data"


def main_tables(figures: EvaluationFigures) -> list[Table]:
    """Returns a table for each metric, in the paper's layout: a row for each model, a column for each benchmark."""
    return _judges_tables(figures, figures.deciding, tuple(METRICS))


def further_tables(figures: EvaluationFigures) -> list[Table]:
    """Returns how far to trust them: the same by every other judge, of what judges tell, and those of `OPTIONAL`."""
    others = [judge for judge in figures.judges if judge != figures.deciding]
    said = [table for judge in others for table in _judges_tables(figures, judge, JUDGED)]
    return said + [table for make in OPTIONAL if (table := make(figures)) is not None]


def _judges_tables(figures: EvaluationFigures, judge: str, metrics: Sequence[str]) -> list[Table]:
    measures = figures.judges[judge].measures
    tables = []
    for metric in metrics:
        columns: list[Measure] = []
        for whole in measures.whole:
            if whole.metric == metric:
                subsets = [one for one in measures.parts if _same(one, whole) and not one.category]
                columns += [*subsets, whole]
        caption, strips = f"Share of answers, by {judge}: {METRICS[metric]}", list(_strips(columns))
        tables += [_models_table(figures, caption, strip)._replace(note="") for strip in strips[:-1]]
        tables += [_models_table(figures, caption, strip, columns) for strip in strips[-1:]]
    return tables


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


def _models_table(
    figures: EvaluationFigures, caption: str, columns: Sequence[Measure], explained: Sequence[Measure] = ()
) -> Table:
    """Returns a table of some columns; its note says what the flags of those that are `explained` mean."""
    rows: list[Sequence[Cell]] = []
    for model in figures.models:
        rows.append((model, *(_figure(one.models[model]) for one in columns)))
        if model != figures.baseline:
            rows.append((f"{model}, change", *(_led_by_people(figures, one, model) for one in columns)))
    return Table(
        f"{caption} ({origin_text(figures, [one.benchmark for one in columns])})",
        ("Model", *(f"{one.benchmark}{f': {one.subset}' if one.subset else ''}" for one in columns)),
        rows,
        f"In brackets: {percent(figures.confidence)}{SPACE}% intervals by whole clusters; n: answers that were scored; "
        f"bounds: the rate if none, or all, of the missing ones were counted. Change: against {figures.baseline}, "
        "paired, in percentage points; p by the exact sign-flip test of whole clusters’ summed changes (McNemar’s "
        "where each sample stands alone), adjusted by Holm for whole benchmarks and by Benjamini and Hochberg for "
        "their parts. Where people labelled a sample, the change by their labels (PPI++) comes first. "
        f"{FEW_UNITS_NOTE}{_flags_note(explained)}",
    )


def _flags_note(columns: Sequence[Measure]) -> str:
    """Says what the flags mean that some measures have."""
    there = {flag for one in columns for figure in one.models.values() for flag in figure.flags}
    there |= {flag for one in columns for change in one.changes.values() for flag in change.flags}
    said = [f"{flag}: {meaning}" for flag, meaning in FLAGS.items() if flag in there]
    return f" {'; '.join(said)}; a change is then withheld, unless `force` is set." if said else ""


def _figure(figure: ModelFigure) -> str:
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
    by_judge = _change(measure, model)
    whole = measure in figures.judges[figures.deciding].measures.whole
    trust = trust_in_change(figures, measure, model) if whole else None
    if trust is None or trust.powered is None:
        return by_judge
    return f"{powered_text(trust)}, by people’s labels; by {figures.deciding} alone: {by_judge}"


def _change(measure: Measure, model: str) -> str:
    against = measure.changes[model]
    if against.withheld:
        return f"withheld: {', '.join(against.flags)}"
    held = f"; {against.not_inferior}" if against.not_inferior else ""
    return (
        NOT_MEASURED if against.change is None else f"{change_text(against.change)}, p {p_text(against.change)}{held}"
    )


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
                    rows.append((part.category or "none", model, _figure(one), rest))
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


def yes_no_table(figures: EvaluationFigures) -> Table | None:
    """Returns what yes-or-no benchmarks publish beside accuracy; None where none was asked."""
    rows: list[Sequence[Cell]] = []
    for one in figures.yes_no:
        name = f"{one.benchmark}{f': {one.subset}' if one.subset else ''}"
        for model, found in one.models.items():
            rows.append((name, model, *(rate_text(found.figures[key], 1) for key in YES_NO), found.unscored))
            if one.changes.get(model):
                rows.append((name, f"{model}, change", *(_ratio_change(one.changes[model][key]) for key in YES_NO), ""))
    caption = f"Yes or no ({origin_text(figures, [one.benchmark for one in figures.yes_no])})"
    note = "Unscored answers say neither, and are in no figure. Change: in percentage points, on what both answered."
    return Table(caption, ("Benchmark", "Model", *YES_NO.values(), "Unscored"), rows, note) if rows else None


def _ratio_change(change: RatioChange | None) -> str:
    return NOT_MEASURED if change is None else change_points(change)


def ablations_table(figures: EvaluationFigures) -> Table | None:
    """Returns the rates without samples' own pictures, or that there are none; None without a safety benchmark."""
    found = figures.judges[figures.deciding]
    safety = [one for one in found.measures.whole if one.kind in SAFETY]
    if not safety:
        return None
    shown = tuple(dict.fromkeys(one.ablation for one in found.ablations))
    rows: list[Sequence[Cell]] = []
    for whole in safety:
        heading = f"{whole.benchmark}, {METRICS[whole.metric]}"
        made = {(one.model, one.ablation): one for one in found.ablations if _same_figure(one, whole)}
        for model in figures.models if made else ():
            rows.append((heading, model, *(_ablation(made.get((model, one))) for one in shown)))
        if not made:
            why = "not asked (`ablations`)" if figures.coverage[whole.benchmark].pictures else "has no pictures"
            rows.append((heading, "all", why, *("–" for _ in shown[1:])))
    caption = f"Without the samples’ own pictures ({origin_text(figures, [one.benchmark for one in safety])})"
    headings = [f"Shown: {WITHOUT[one]}" for one in shown] or ["Shown"]
    note = (
        "The rate, and its change against the same model’s with the pictures. What stays the same without its picture "
        "was not asked of the picture."
    )
    return Table(caption, ("Benchmark", "Model", *headings), rows, note)


def _same_figure(one: AblationFigure, whole: Measure) -> bool:
    return (one.benchmark, one.metric) == (whole.benchmark, whole.metric)


def _ablation(one: AblationFigure | None) -> Cell:
    if one is None:
        return "–"
    against = one.against_pictures
    change = f"change withheld: {', '.join(against.flags)}" if against.withheld else change_text(against.change)
    return _figure(one.figure) if one.figure.rate.value is None else f"{_figure(one.figure)}; {change}"


def clean_table(figures: EvaluationFigures) -> Table | None:
    """Returns the rates of the samples that the training data has not; None where it was not compared."""
    if figures.contamination is None:
        return None
    rows: list[Sequence[Cell]] = []
    for one in figures.contamination.clean.whole:
        met = figures.contamination.samples.get(one.benchmark, 0)
        heading = f"{one.benchmark}, {METRICS[one.metric]}"
        for model, figure in one.models.items():
            change = _change(one, model) if model in one.changes else "–"
            rows.append((heading, met, model, one.samples, _figure(figure), change))
    named = [one.benchmark for one in figures.contamination.clean.whole]
    caption = f"Without samples that the training data has too ({origin_text(figures, named)})"
    note = (
        f"Compared with {figures.contamination.texts} texts and {figures.contamination.pictures} pictures of the data; "
        f"samples met, by what was looked for: {_kinds_text(figures.contamination)}."
    )
    return Table(caption, ("Benchmark", "Met in training", "Model", "Samples left", "Rate", "Change"), rows, note)


def _kinds_text(found: Contaminated) -> str:
    return ", ".join(f"{kind} {sum(met.values())}" for kind, met in found.by_kind.items())


def trust_table(figures: EvaluationFigures) -> Table | None:
    """Returns what the judge's errors may do to each change; None where nothing was compared."""
    rows: list[Sequence[Cell]] = []
    for one in figures.trust:
        band = f"{points(one.band.low)} to {points(one.band.high)}" if one.band else NOT_MEASURED
        rows.append((f"{one.benchmark}, {METRICS[one.metric]}", one.model, powered_text(one), band, one.errors.because))
    caption = f"What the judge’s errors may do ({origin_text(figures, [one.benchmark for one in figures.trust])})"
    headings = ("Benchmark", "Model", "Change by people’s labels", "Changes that its errors allow", "Errors by")
    note = (
        "In percentage points. What errors allow is of the judge's errors alone; the sample's own chance comes on top. "
        f"{FEW_UNITS_NOTE}"
    )
    return Table(caption, headings, rows, note) if rows else None


def wins_table(figures: EvaluationFigures) -> Table | None:
    """Returns the win rates; None where no helpfulness benchmark was asked."""
    rows: list[Sequence[Cell]] = [
        (
            one.benchmark,
            one.model,
            *(
                "withheld: incomplete" if one.withheld else rate_text(rate, 1)
                for rate in (one.wins, one.at_equal_length, one.consistency)
            ),
            one.wins.n,
            one.wins.unscored,
            bounds_text(one.lowest, one.highest) if one.wins.unscored else "–",
        )
        for one in figures.wins
    ]
    caption = f"Against {figures.baseline} ({origin_text(figures, [one.benchmark for one in figures.wins])})"
    headings = ("Benchmark", "Model", "Win rate", "At equal length", "Both orders agree", "n", "Unscored", "Bounds")
    note = (
        "Bounds: the win rate if all, or none, of the unscored samples were lost. Where more than `max_failed` are "
        "unscored, the rate is withheld, unless `force` is set."
    )
    return Table(caption, headings, rows, note) if rows else None


def agreement_table(figures: EvaluationFigures) -> Table | None:
    """Returns how far the judges agree; None where there is one."""
    found = figures.agreement
    if found is None:
        return None
    rows: list[Sequence[Cell]] = [
        (
            f"{one.one} and {one.other}",
            one.answers,
            _number(one.alike),
            _interval(one.kappa),
            _number(one.ac1),
        )
        for one in found.pairs
    ]
    caption = f"How far the judges agree ({origin_text(figures, list(figures.coverage))})"
    note = f"On answers to harmful questions. Krippendorff’s alpha over all judges: {_interval(found.alpha)}."
    return Table(caption, ("Judges", "Answers", "Alike", "Kappa", "AC1"), rows, note)


def _interval(found: Agreement | None) -> str:
    return NOT_MEASURED if found is None else f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"


def _number(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:.2f}"


OPTIONAL: tuple[Callable[[EvaluationFigures], Table | None], ...] = (
    yes_no_table,
    wins_table,
    ablations_table,
    clean_table,
    trust_table,
    agreement_table,
    imported_table,
)
"""Tables that are there only where there is something to say."""
