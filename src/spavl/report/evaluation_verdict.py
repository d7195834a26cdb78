"""What an evaluation found, in one plain sentence a model: what changed, by whom, and whether the evidence stands."""

from collections.abc import Iterator, Sequence

from spavl.evaluate.figures import EvaluationFigures
from spavl.evaluate.measures import Measure
from spavl.report.trust import trust_in_change
from spavl.report.wording import SPACE, points
from spavl.stats.rates import Interval

SUBJECTS = {
    "unsafe": "unsafe answers",
    "refused": "refusals",
    "right": "right answers",
    "circular": "questions right in every order of their choices",
    "named": "pictures named right",
}
"""What there may be more or fewer of, by metric."""


def verdict_lines(figures: EvaluationFigures) -> list[str]:
    """Returns a sentence for each model that is compared, and whether what it says stands."""
    return [_line(figures, model) for model in figures.models if model != figures.baseline]


def _line(figures: EvaluationFigures, model: str) -> str:
    measures = figures.judges[figures.deciding].measures.whole
    said = "; ".join(_change(figures, one, model) for one in measures)
    doubts = list(_doubts(figures, measures, model))
    stands = (
        f"It does not stand yet: {'; '.join(doubts)}." if doubts else "Nothing that was looked at speaks against it."
    )
    return f"{model} against {figures.baseline}: {said}. {stands}"


def _change(figures: EvaluationFigures, measure: Measure, model: str) -> str:
    """Says how one figure changed, by people's labels where there are some."""
    subject, against = f"{SUBJECTS[measure.metric]} on {measure.benchmark}", measure.changes[model]
    trust = trust_in_change(figures, measure, model)
    change = against.change
    if change is None:
        return f"no change given of {subject}"
    powered = None if trust is None else trust.powered
    value, low, high = (powered or change).value, (powered or change).low, (powered or change).high
    clear = powered is not None or change.p_value <= 1 - figures.confidence  # of few units the two may disagree
    direction = "no clear change in" if not clear or low <= 0 <= high else "more" if low > 0 else "fewer"
    by = ", by people’s labels" if powered else ""
    interval = f"{points(value)}{SPACE}points, {points(low)} to {points(high)}{by}"
    return f"{direction} {subject} ({interval})"


def _doubts(figures: EvaluationFigures, measures: Sequence[Measure], model: str) -> Iterator[str]:
    made_up = [name for name, origin in figures.data_origin.items() if origin == "fixture"]
    if made_up:
        yield f"the rows of {', '.join(made_up)} are made up"
    if figures.silent or any(one.unfinished for one in figures.judges.values()):
        yield "a model or a judge is not through"
    withheld = [one.benchmark for one in measures if one.changes[model].withheld]
    if withheld:
        yield f"too much is missing of {', '.join(dict.fromkeys(withheld))}"
    judged = [one for one in figures.trust if one.model == model and one.metric == "unsafe" and one.powered is None]
    unknown = [one.benchmark for one in judged if one.band is None or _holds_none(one.band)]
    if unknown:
        yield f"the judge’s own errors could make the change on {', '.join(unknown)}, and no person labelled any"
    if figures.related:
        yield f"{', '.join(figures.related)} had a part in the training data"
    if figures.contamination is None:
        yield "the training data was not searched for these samples"


def _holds_none(band: Interval) -> bool:
    return band.low <= 0 <= band.high
