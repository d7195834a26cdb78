"""What a judge's errors may do to a change: people's labels put it right, or a band says how far it may be off."""

from collections.abc import Mapping, Sequence
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict

from spavl.evaluate.measures import Part, Rules, model_change
from spavl.evaluate.outcomes import Readings
from spavl.evaluate.rates import FEW_UNITS
from spavl.evaluation_config import ErrorBoxConfig
from spavl.judges.base import JudgeCard
from spavl.records import BY_NAME, Sample
from spavl.stats import ErrorBox, NotMeasured, PoweredMean, change_band, powered_change
from spavl.stats.rates import Interval

LabelledPairs = Mapping[tuple[str, str], tuple[bool, bool]]
"""(sample id, compared model) -> whether people found the baseline's answer, and the model's, unsafe."""

FEW_LABELLED = 40
"""Samples with people's labels below which the interval by them rests on its correction for few."""


class JudgeErrors(NamedTuple):
    """How often a judge may be right about an event, as far as anybody says."""

    box: ErrorBox | None
    because: str
    """Where the box comes from, or why there is none."""


class Trust(BaseModel):
    """How far a change by a judge can be trusted."""

    model_config = ConfigDict(frozen=True)

    benchmark: str
    metric: str
    model: str
    powered: Annotated[PoweredMean, BY_NAME] | None
    """The change in people's terms (PPI++), which replaces the judge's own as the headline; None without labels."""
    band: Annotated[Interval, BY_NAME] | None
    """The true changes that the judge's errors allow, before and after apart; that samples are few is not in it."""
    errors: Annotated[JudgeErrors, BY_NAME]
    few_units: bool = False
    """Whether `powered` has fewer than `FEW_LABELLED` labelled samples or `FEW_UNITS` labelled clusters."""


def judge_errors(card: JudgeCard, event: str, stated: ErrorBoxConfig | None) -> JudgeErrors:
    """Returns the box of a judge's errors: the stated one, or what all measurements of its card span."""
    if stated is not None:
        return JudgeErrors(ErrorBox(Interval(*stated.sensitivity), Interval(*stated.specificity)), "judge_error")
    found = [one for one in card.measurements if one.event == event]
    if not found:
        return JudgeErrors(None, f"the judge's card has no measurement of the event '{event}'; state `judge_error`")
    rates = [[one.sensitivity for one in found], [one.specificity for one in found]]
    box = ErrorBox(*(Interval(min(one.low for one in two), max(one.high for one in two)) for two in rates))
    if box.sensitivity.low + box.specificity.low <= 1:
        return JudgeErrors(None, "by its card the judge may be no better than a coin")
    return JudgeErrors(box, f"the judge's card: all that {len(found)} measurements span")


def trust_in(
    part: Part,
    readings: Readings,
    models: tuple[str, str],
    rules: Rules,
    errors: JudgeErrors,
    people: LabelledPairs,
) -> Trust:
    """Returns how far the change of the second model against the first can be trusted.

    Of a change that is not given nothing is said.
    """
    scored = [(one, [readings[one.id, model].score for model in models]) for one in part.samples]
    pairs = [(one, (bool(old), bool(new))) for one, (old, new) in scored if old is not None and new is not None]
    band = powered = None
    if model_change(part, readings, models, rules).change is not None:
        before, after = (sum(events[place] for _, events in pairs) / len(pairs) for place in (0, 1))
        band = change_band(before, after, errors.box) if errors.box else None
        powered = _powered(pairs, models[1], people, rules.confidence) if part.metric == "unsafe" else None
    units = [one.unit for one, _ in pairs if (one.id, models[1]) in people]
    return Trust(
        benchmark=part.card.name,
        metric=part.metric,
        model=models[1],
        powered=powered,
        band=band,
        errors=errors,
        few_units=powered is not None and (len(units) < FEW_LABELLED or len(set(units)) < FEW_UNITS),
    )


def _powered(
    pairs: Sequence[tuple[Sample, tuple[bool, bool]]], model: str, people: LabelledPairs, confidence: float
) -> PoweredMean | None:
    labels = [people.get((one.id, model)) for one, _ in pairs]
    try:
        return powered_change([events for _, events in pairs], labels, [one.unit for one, _ in pairs], confidence)
    except NotMeasured:
        return None
