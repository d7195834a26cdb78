"""What an evaluation found, in one plain sentence a model: what changed, by whom, and whether the evidence stands."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from spavl.evaluate.figures import EvaluationFigures
from spavl.evaluate.measures import Measure
from spavl.report.trust import trust_in_change
from spavl.report.wording import SPACE, p_text, points
from spavl.stats.rates import Interval

SUBJECTS = {
    "unsafe": "unsafe answers",
    "refused": "refusals",
    "right": "right answers",
    "circular": "questions right in every order of their choices",
    "named": "pictures named right",
}
"""What there may be more or fewer of, by metric."""
WORDS = {-1: "fewer", 1: "more", 0: "no clear change in", None: "no change given of"}
"""How a change is called by its direction, in the order in which they are said."""
MOST_SAID = 4
"""Figures without a clear change, or without any, that are named each by itself."""


class Found(NamedTuple):
    """What is said of one figure's change."""

    direction: int | None
    """A key of `WORDS`."""
    subject: str
    benchmark: str
    interval: str = ""


def verdict_lines(figures: EvaluationFigures) -> list[str]:
    """Returns a sentence for each model that is compared, and whether what it says stands."""
    return [_line(figures, model) for model in figures.models if model != figures.baseline]


def _line(figures: EvaluationFigures, model: str) -> str:
    measures = figures.judges[figures.deciding].measures.whole
    found = [_found(figures, one, model) for one in measures]
    said = []
    for direction, words in WORDS.items():
        alike = [one for one in found if one.direction == direction]
        if not direction and len(alike) > MOST_SAID:
            said.append(f"{words} {len(alike)} other figures")
            continue
        for subject in dict.fromkeys(one.subject for one in alike):
            places = ", ".join(f"{one.benchmark}{one.interval}" for one in alike if one.subject == subject)
            said.append(f"{words} {subject} on {places}")
    doubts = list(_doubts(figures, measures, model))
    stands = (
        f"It does not stand yet: {'; '.join(doubts)}." if doubts else "Nothing that was looked at speaks against it."
    )
    return f"{model} against {figures.baseline}: {'; '.join(said)}. {stands}"


def _found(figures: EvaluationFigures, measure: Measure, model: str) -> Found:
    """Says how one figure changed, by people's labels where there are some."""
    subject, change = SUBJECTS[measure.metric], measure.changes[model].change
    if change is None:
        return Found(None, subject, measure.benchmark)
    trust = trust_in_change(figures, measure, model)
    powered = None if trust is None else trust.powered
    given = powered or change
    value, apart = f"{points(given.value)}{SPACE}points", not given.low <= 0 <= given.high
    interval = f"{value}, {points(given.low)} to {points(given.high)}"
    if powered:
        interval += ", by people’s labels"
    clear = apart and (powered is not None or change.p_value <= 1 - figures.confidence)
    if apart and not clear:  # of few units, or of many figures, the two may disagree
        interval += f", but p {p_text(change)} over all figures"
    return Found((1 if given.low > 0 else -1) if clear else 0, subject, measure.benchmark, f" ({interval})")


def _doubts(figures: EvaluationFigures, measures: Sequence[Measure], model: str) -> Iterator[str]:
    made_up = [name for name, origin in figures.data_origin.items() if origin == "fixture"]
    if made_up:
        yield f"the rows of {', '.join(made_up)} are made up"
    if figures.silent or any(one.unfinished for one in figures.judges.values()):
        yield "a model or a judge is not through"
    flagged = [one.benchmark for one in measures if one.changes[model].flags]
    if flagged:
        yield f"too much is missing or cut of {', '.join(dict.fromkeys(flagged))}"
    judged = [one for one in figures.trust if one.model == model and one.metric == "unsafe" and one.powered is None]
    unknown = [one.benchmark for one in judged if one.band is None or _holds_none(one.band)]
    if unknown:
        yield f"the judge’s own errors could make the change on {', '.join(unknown)}, and no person labelled any"
    opposite = [one.benchmark for one in measures if _is_opposite(figures, one, model)]
    if opposite:
        yield f"people’s labels and the judge point in opposite directions on {', '.join(opposite)}"
    if figures.related:
        yield f"{', '.join(figures.related)} had a part in the training data"
    yield from _contaminations(figures, measures, model)


def _holds_none(band: Interval) -> bool:
    return band.low <= 0 <= band.high


def _is_opposite(figures: EvaluationFigures, measure: Measure, model: str) -> bool:
    """Says whether the judge alone finds a change in the direction that people's labels exclude."""
    trust, change = trust_in_change(figures, measure, model), measure.changes[model].change
    if change is None or trust is None or trust.powered is None:
        return False
    powered = trust.powered
    return (change.low > 0 and powered.high < 0) or (change.high < 0 and powered.low > 0)


def _contaminations(figures: EvaluationFigures, measures: Sequence[Measure], model: str) -> Iterator[str]:
    """Says which changes are not the same without the samples that the training data has too."""
    if figures.contamination is None:
        yield "the training data was not searched for these samples"
        return
    clean = {(one.benchmark, one.metric): one for one in figures.contamination.clean.whole}
    for one in measures:
        met, rest = figures.contamination.samples.get(one.benchmark, 0), clean.get((one.benchmark, one.metric))
        if met and rest is None:
            yield f"all samples of {one.benchmark} stand in the training data"
        elif met and rest is not None and _direction(rest, model) != _direction(one, model):
            yield f"without the samples that stand in the training data the change on {one.benchmark} is another"


def _direction(measure: Measure, model: str) -> int | None:
    """Returns in which direction the judge alone finds a change: 0 where its interval holds none."""
    change = measure.changes[model].change
    return None if change is None else int(change.low > 0) - int(change.high < 0)
