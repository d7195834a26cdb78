"""A change in people's terms, as the tables and the verdict of an evaluation have it."""

from spavl.evaluate.figures import EvaluationFigures
from spavl.evaluate.judge_trust import Trust
from spavl.evaluate.measures import Measure
from spavl.report.wording import NOT_MEASURED, SPACE, flags_text, points
from spavl.stats import RatioChange


def trust_in_change(figures: EvaluationFigures, measure: Measure, model: str) -> Trust | None:
    """Returns what is known of the deciding judge's errors in a benchmark's change; None where nothing is."""
    key = (measure.benchmark, measure.metric, model)
    return next((one for one in figures.trust if (one.benchmark, one.metric, one.model) == key), None)


def powered_text(trust: Trust) -> str:
    """Writes a change by people's labels, and of how many samples they are."""
    powered = trust.powered
    if powered is None:
        return NOT_MEASURED
    interval = f"{points(powered.value)}{SPACE}points ({points(powered.low)} to {points(powered.high)})"
    return f"{interval}, {powered.labelled} of {powered.n} labelled{flags_text(trust.few_units)}"


def change_points(change: RatioChange) -> str:
    """Writes a change in percentage points with its interval."""
    return f"{points(change.value)} ({points(change.low)} to {points(change.high)})"
