"""Figures in plain words: how a rate, a change and a p value are written, and the verdict of a run."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from spavl.evaluate.results import BeforeAfter, Change, EvaluationResults
from spavl.judges.base import JudgeCard, Measurement
from spavl.loss_config import PreferenceLossConfig
from spavl.report.training import Margin, Training

NOT_MEASURED = "not measured"
SPACE = "\u00a0"
"""Between a number and its sign, so that no line breaks there."""
FEW_UNITS_NOTE = (
    "few_units: the interval is of fewer than 15 units (or 40 labelled samples), and widened for that; read it as a "
    "rough one."
)
"""What a table's note says of the flag."""


class AnyRate(Protocol):
    """A rate with its interval; `None` where nothing was measured."""

    @property
    def value(self) -> float | None:
        """From 0 to 1."""

    @property
    def n(self) -> int:
        """Items."""

    @property
    def low(self) -> float | None:
        """Lower limit."""

    @property
    def high(self) -> float | None:
        """Upper limit."""


class Looped(Protocol):
    """How many answers say the same over and over."""

    @property
    def looping(self) -> int:
        """Those that do."""

    @property
    def answers(self) -> int:
        """All."""


TITLES = {
    "unsafe_rate": "Unsafe answers to harmful questions",
    "benign_refusal_rate": "Benign questions refused",
    "naming_accuracy": "Pictures named right",
}
"""What each metric counts."""
BETTER = {
    "unsafe_rate": "lower is better",
    "benign_refusal_rate": "lower is better",
    "naming_accuracy": "higher is better",
}
SUBJECTS = {
    "unsafe_rate": "unsafe answers",
    "benign_refusal_rate": "refusals of benign questions",
    "naming_accuracy": "pictures named right",
}
SENTENCES = {
    "unsafe_rate": "On {n} held-out harmful questions the unsafe rate went from {before} to {after}.",
    "benign_refusal_rate": "On {n} held-out benign questions the refusal rate went from {before} to {after}.",
    "naming_accuracy": "Of {n} pictures the share named right went from {before} to {after}.",
}

HELD_OUT_BEGINNINGS = {
    "image": "On {n} harmful questions of kinds that were trained on, about other pictures:",
    "leaf": "On {n} harmful questions of kinds that were never trained on:",
}
"""How the line on each kind of held-out question begins."""


def percent(value: float, digits: int = 0) -> str:
    """Writes a share; one that is nearly nothing or nearly everything is never written as 0 or 100."""
    text = f"{100 * value:.{digits}f}"
    return percent(value, digits + 1) if 0 < value < 1 and float(text) in (0, 100) else text


def rate_text(rate: AnyRate | None, digits: int = 0) -> str:
    """Writes a rate with its interval: `71 % (60–80)`."""
    if rate is None or rate.value is None or rate.low is None or rate.high is None:
        return NOT_MEASURED
    interval = f"{percent(rate.low, digits)}–{percent(rate.high, digits)}"
    return f"{percent(rate.value, digits)}{SPACE}% ({interval})"


def bounds_text(lowest: float | None, highest: float | None) -> str:
    """Writes the least and the greatest rate that unscored items allow."""
    if lowest is None or highest is None:
        return NOT_MEASURED
    return f"{percent(lowest, 1)}–{percent(highest, 1)}{SPACE}%"


def flags_text(few_units: bool, flags: Sequence[str] = ()) -> str:
    """Writes what is said against a figure behind it: ` [cut, few_units]`; nothing where nothing is."""
    said = [*flags, "few_units"] if few_units else flags
    return f" [{', '.join(said)}]" if said else ""


def change_text(change: Change | None) -> str:
    """Writes a change in percentage points with its interval: `−59.0 points (−69.0 to −48.0)`."""
    if change is None:
        return NOT_MEASURED
    value, low, high = (points(share) for share in (change.value, change.low, change.high))
    return f"{value}{SPACE}points ({low} to {high}){flags_text(change.few_units)}"


def points(share: float) -> str:
    """Writes a difference of shares in percentage points, with its sign: `−59.0`."""
    rounded = round(100 * share, 1) + 0.0
    return f"{rounded:+.1f}".replace("-", "−") if rounded else "0.0"


def p_text(change: Change | None) -> str:
    """Writes a p value."""
    if change is None:
        return NOT_MEASURED
    return f"<{SPACE}0.001" if change.p_value < 0.001 else f"{change.p_value:.3f}"


def looping_line(looping: Mapping[str, Looped]) -> str:
    """Says how many answers say the same over and over, which no rate tells."""
    counted = ", ".join(f"{model} {one.looping} of {one.answers}" for model, one in looping.items())
    return (
        f"Answers that say the same over and over: {counted}. Where what they repeat declines, they count as "
        "refusals, and as safe."
    )


def headline(results: EvaluationResults) -> str:
    """Says in one line what alignment changed, as far as the intervals tell."""
    directions = {
        name: None if metric.change is None else direction(metric.change) for name, metric in results.metrics.items()
    }
    said = [f"fewer {SUBJECTS[name]}" for name, way in directions.items() if way == -1]
    said += [f"more {SUBJECTS[name]}" for name, way in directions.items() if way == 1]
    unclear = [SUBJECTS[name] for name, way in directions.items() if way == 0]
    unmeasured = [SUBJECTS[name] for name, way in directions.items() if way is None]
    said += [f"{NOT_MEASURED}: {', '.join(unmeasured)}"] * bool(unmeasured)
    said += [f"no clear change in {' or in '.join(unclear)}"] * bool(unclear)
    line = "; ".join(said)
    return f"{line[0].upper()}{line[1:]}."


def verdict_line(results: EvaluationResults, confidence: float) -> str:
    """Says what was measured, with figures and intervals."""
    sentences = [_sentence(name, metric) for name, metric in results.metrics.items()]
    return f"{' '.join(sentences)} In brackets: {percent(confidence)}{SPACE}% intervals."


def held_out_lines(results: EvaluationResults) -> tuple[str, ...]:
    """Says the unsafe rate on kinds of harm that were trained on and on those that were not, a line each."""
    return tuple(_held_out_line(kind, metric) for kind, metric in results.by_held_out.items())


def alarm_line(training: Training | None) -> str:
    """Says that the preferred answers became less likely in training; nothing where they did not."""
    if training is None or not training.alarms:
        return ""
    return (
        f"Alarm in training: from step {training.first_alarm} on, at {training.alarms} of {training.steps} steps, the "
        "preferred answers were clearly less likely than before training; see Training before you trust the rates."
    )


def margin_text(margin: Margin) -> str:
    """Writes a reward margin with its sign: `+1.25`."""
    return "no pairs" if margin.value is None else f"{margin.value:+.2f}".replace("-", "−")


def losses_text(losses: Sequence[PreferenceLossConfig]) -> str:
    """Writes the sum that was minimised: `sigmoid + 0.5 × sft`."""
    return " + ".join(f"{one.weight:g}{SPACE}×{SPACE}{one.kind}" if one.weight != 1 else one.kind for one in losses)


def teacher_sentence(chosen: Mapping[str, int]) -> str:
    """Says which responder most chosen answers to harmful questions come from; nothing where there are none.

    Args:
        chosen: Responder -> harmful pairs whose chosen answer is its own.
    """
    if not chosen:
        return ""
    total, most = sum(chosen.values()), max(chosen, key=lambda name: chosen[name])
    said = (
        f"In {chosen[most]} of {total} harmful pairs ({percent(chosen[most] / total)}{SPACE}%) the chosen answer comes"
    )
    if 2 * chosen[most] > total:
        return f"{said} from {most}: above all the model is taught that responder’s way of answering harmful questions."
    return f"{said} from {most}, and from no other responder more often."


def weakest_measurements(judge: JudgeCard) -> tuple[Measurement, ...]:
    """Returns, for each event, the measurement with the lowest sensitivity and specificity together."""
    weakest: dict[str, Measurement] = {}
    for one in sorted(judge.measurements, key=lambda one: one.sensitivity.value + one.specificity.value):
        weakest.setdefault(one.event, one)
    return tuple(weakest[event] for event in dict.fromkeys(one.event for one in judge.measurements))


def direction(change: Change) -> int:
    """Returns -1 for a fall, 1 for a rise, and 0 where the interval holds both."""
    return int(change.low > 0) - int(change.high < 0)


def _held_out_line(kind: str, metric: BeforeAfter) -> str:
    asked = metric.before.n + metric.before.unscored
    said = HELD_OUT_BEGINNINGS[kind].format(n=asked)
    if metric.before.value is None and metric.after.value is None:
        return f"{said} {NOT_MEASURED}."
    return f"{said} unsafe rate from {rate_text(metric.before)} to {rate_text(metric.after)}."


def _sentence(name: str, metric: BeforeAfter) -> str:
    asked = metric.before.n + metric.before.unscored
    if metric.before.value is None and metric.after.value is None:
        return f"{TITLES[name]}: {NOT_MEASURED}."
    said = SENTENCES[name].format(n=asked, before=rate_text(metric.before), after=rate_text(metric.after))
    unscored = metric.before.unscored + metric.after.unscored
    return f"{said} {unscored} of the {2 * asked} answers could not be scored." if unscored else said
