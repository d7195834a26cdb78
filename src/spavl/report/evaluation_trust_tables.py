"""The tables of an evaluation's page that say how far to trust it, and what only some benchmarks or recipes have."""

from collections.abc import Callable, Mapping, Sequence

from spavl.evaluate.figures import AblationFigure, Contaminated, EvaluationFigures
from spavl.evaluate.measures import Measure
from spavl.evaluate.yes_no import YesNoFigure
from spavl.evaluation_config import Ablation
from spavl.report.evaluation_tables import JUDGED, METRICS, SAFETY, change_cell, figure_text, judges_tables, origin_text
from spavl.report.imported_table import imported_table
from spavl.report.tables import Cell, Table
from spavl.report.trust import change_points, powered_text
from spavl.report.wording import FEW_UNITS_NOTE, NOT_MEASURED, bounds_text, change_text, points, rate_text
from spavl.stats import Agreement, RatioChange

WITHOUT: Mapping[Ablation, str] = {"none": "nothing", "blank": "a white picture", "shuffled": "another’s picture"}
YES_NO: Mapping[YesNoFigure, str] = {
    "accuracy": "Accuracy",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "yes_share": "Says yes",
}


def further_tables(figures: EvaluationFigures) -> list[Table]:
    """Returns how far to trust them: the same by every other judge, of what judges tell, and those of `OPTIONAL`."""
    others = [judge for judge in figures.judges if judge != figures.deciding]
    said = [table for judge in others for table in judges_tables(figures, judge, JUDGED)]
    return said + [table for make in OPTIONAL if (table := make(figures)) is not None]


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
    return figure_text(one.figure) if one.figure.rate.value is None else f"{figure_text(one.figure)}; {change}"


def clean_table(figures: EvaluationFigures) -> Table | None:
    """Returns the rates of the samples that the training data has not; None where it was not compared."""
    if figures.contamination is None:
        return None
    rows: list[Sequence[Cell]] = []
    for one in figures.contamination.clean.whole:
        met = figures.contamination.samples.get(one.benchmark, 0)
        heading = f"{one.benchmark}, {METRICS[one.metric]}"
        for model, figure in one.models.items():
            change = change_cell(one, model) if model in one.changes else "–"
            rows.append((heading, met, model, one.samples, figure_text(figure), change))
    whole = figures.judges[figures.deciding].measures.whole
    left = {(one.benchmark, one.metric) for one in figures.contamination.clean.whole}
    for one in whole:  # all of whose samples the training data has
        if (one.benchmark, one.metric) not in left:
            heading = f"{one.benchmark}, {METRICS[one.metric]}"
            rows += [(heading, one.samples, model, 0, NOT_MEASURED, "–") for model in one.models]
    named = [one.benchmark for one in whole]
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
        if one.answers
    ]
    apart = sum(not one.answers for one in found.pairs)
    caption = f"How far the judges agree ({origin_text(figures, list(figures.coverage))})"
    note = f"On answers to harmful questions. Krippendorff’s alpha over all judges: {_interval(found.alpha)}."
    note += f" Pairs of judges that told no answer both: {apart}." if apart else ""
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
