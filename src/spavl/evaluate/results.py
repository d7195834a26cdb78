"""The figures: rates before and after with intervals and bounds, paired changes, and the win rate.

Samples that share a picture rise and fall together: there an interval draws whole pictures (cluster bootstrap); with
one sample to a picture it is Wilson's. What could not be scored is in no rate; the bounds say what it could have
changed. A rate of nothing is `None`, never 0.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from spavl.evaluate.contests import ContestResult
from spavl.records import Answer, Sample, Verdict
from spavl.stats import (
    NotMeasured,
    bounds,
    cluster_bootstrap_rate,
    holm,
    outcome_of_orders,
    paired_change,
    wilson,
    win_rate,
)

HEADLINE = {"unsafe_rate": "held_out_harm", "benign_refusal_rate": "held_out_benign", "naming_accuracy": "naming"}
"""Metric -> benchmark it is measured on."""


class MeasuredRate(BaseModel):
    """A rate with its interval, and the bounds that unscored items leave."""

    model_config = ConfigDict(frozen=True)

    value: float | None
    n: int
    low: float | None
    high: float | None
    unscored: int
    lowest: float | None
    """The rate if no unscored item were an event."""
    highest: float | None
    """The rate if every unscored item were an event."""


class Change(BaseModel):
    """After minus before on the samples that were scored both times."""

    model_config = ConfigDict(frozen=True)

    value: float
    n: int
    low: float
    high: float
    before_only: int
    """Samples with the event before and not after."""
    after_only: int
    """Samples with the event after and not before."""
    p_value: float
    """Exact McNemar test, adjusted over the metrics (Holm)."""


class BeforeAfter(BaseModel):
    """One metric before and after alignment."""

    model_config = ConfigDict(frozen=True)

    before: MeasuredRate
    after: MeasuredRate
    change: Change | None


class Wins(BaseModel):
    """How often the aligned model's answer beats the base model's, ties and order flips counting half."""

    model_config = ConfigDict(frozen=True)

    value: float | None
    n: int
    low: float | None
    high: float | None
    wins: int
    ties: int
    losses: int
    inconsistent: int
    unscored: int


class EvaluationResults(BaseModel):
    """Every figure of an evaluation."""

    model_config = ConfigDict(frozen=True)

    metrics: dict[str, BeforeAfter]
    by_held_out: dict[str, BeforeAfter]
    """Unsafe rate where the picture alone, or its whole leaf, was kept from training."""
    win_rate: Wins
    win_rate_harmful: Wins
    win_rate_benign: Wins


Model = Literal["before", "after"]
Scores = Mapping[tuple[str, str], bool]
"""(sample id, model) -> event."""


def evaluation_results(
    samples: Sequence[Sample],
    answers: Sequence[Answer],
    verdicts: Sequence[Verdict],
    contests: Sequence[ContestResult],
    confidence: float = 0.95,
) -> EvaluationResults:
    """Computes the figures.

    Args:
        samples: Every sample that was asked.
        answers: The answers of `before` and `after`; a missing one counts as unscored.
        verdicts: What a judge could tell of the answers.
        contests: The judge's verdicts on before against after.
        confidence: Level of every interval.
    """
    model = {answer.id: answer.model for answer in answers}
    scores = {(verdict.sample_id, model[verdict.answer_id]): verdict.value for verdict in verdicts}
    metrics = {
        name: _compare([one for one in samples if one.benchmark == benchmark], scores, confidence)
        for name, benchmark in HEADLINE.items()
    }
    harm = [sample for sample in samples if sample.benchmark == "held_out_harm"]
    benign = [sample for sample in samples if sample.benchmark == "held_out_benign"]
    return EvaluationResults(
        metrics=_adjusted(metrics),
        by_held_out={
            kind: _compare([one for one in harm if one.held_out == kind], scores, confidence)
            for kind in ("image", "leaf")
        },
        win_rate=_wins([*harm, *benign], contests, confidence),
        win_rate_harmful=_wins(harm, contests, confidence),
        win_rate_benign=_wins(benign, contests, confidence),
    )


def _compare(samples: Sequence[Sample], scores: Scores, confidence: float) -> BeforeAfter:
    both = [one for one in samples if (one.id, "before") in scores and (one.id, "after") in scores]
    change = None
    if both:
        old, new = ([scores[one.id, model] for one in both] for model in ("before", "after"))
        paired = paired_change(old, new, [one.image_id for one in both], confidence)
        change = Change(
            value=paired.value,
            n=paired.n,
            low=paired.low,
            high=paired.high,
            before_only=paired.fixed,
            after_only=paired.broken,
            p_value=paired.p_value,
        )
    return BeforeAfter(
        before=_rate(samples, scores, "before", confidence),
        after=_rate(samples, scores, "after", confidence),
        change=change,
    )


def _rate(samples: Sequence[Sample], scores: Scores, model: Model, confidence: float) -> MeasuredRate:
    scored = [one for one in samples if (one.id, model) in scores]
    events = [scores[one.id, model] for one in scored]
    unscored = len(samples) - len(scored)
    pictures = [one.image_id for one in scored]
    try:
        if len(set(pictures)) == len(pictures):
            rate = wilson(sum(events), len(events), confidence)
        else:
            rate = cluster_bootstrap_rate(events, pictures, confidence)
        lowest, highest = bounds(sum(events), len(events), unscored)
    except NotMeasured:
        return MeasuredRate(value=None, n=0, low=None, high=None, unscored=unscored, lowest=None, highest=None)
    return MeasuredRate(**rate._asdict(), unscored=unscored, lowest=lowest, highest=highest)


def _adjusted(metrics: Mapping[str, BeforeAfter]) -> dict[str, BeforeAfter]:
    """Adjusts the p values for there being several metrics."""
    tested = {name: metric.change for name, metric in metrics.items() if metric.change is not None}
    adjusted = dict(zip(tested, holm([change.p_value for change in tested.values()]), strict=True))
    return {
        name: metric.model_copy(update={"change": tested[name].model_copy(update={"p_value": adjusted[name]})})
        if name in tested
        else metric
        for name, metric in metrics.items()
    }


def _wins(samples: Sequence[Sample], contests: Sequence[ContestResult], confidence: float) -> Wins:
    """Reads both orders of each sample; one order without a verdict leaves the sample unscored."""
    orders = {(contest.sample_id, contest.first): contest.verdict for contest in contests}
    judged = [one for one in samples if (one.id, "after") in orders and (one.id, "before") in orders]
    outcomes = [outcome_of_orders(orders[one.id, "after"], orders[one.id, "before"]) for one in judged]
    unscored = len(samples) - len(judged)
    if not outcomes:
        counts = dict.fromkeys(("wins", "ties", "losses", "inconsistent", "n"), 0)
        return Wins(value=None, low=None, high=None, unscored=unscored, **counts)
    won = win_rate(outcomes, [one.image_id for one in judged], confidence)
    return Wins(
        **won.rate._asdict(),
        wins=won.wins,
        ties=won.ties,
        losses=won.losses,
        inconsistent=won.inconsistent,
        unscored=unscored,
    )
