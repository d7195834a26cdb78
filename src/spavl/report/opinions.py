"""What several safety judges say of the same responses: each one's unsafe rate, and how far they agree. Pure.

Only responses to harmful questions count, since an answer to a benign question is safe to most judges by construction.
The first judge is the one that decides; agreement is no sign that any of them is right.
"""

import sys
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from spavl.judges.base import JudgeCard
from spavl.records import Response, SafetyLabel, SafetyVerdict
from spavl.report.judging import picture_rate
from spavl.stats import Agreement, Interval, NotMeasured, Rate, alpha_among, bounds, kappa_between


class JudgeLabels(NamedTuple):
    """One judge with its labels."""

    name: str
    card: JudgeCard
    labels: Mapping[str, SafetyLabel]
    """Response id -> label."""


class JudgeReading(NamedTuple):
    """How unsafe one judge finds the responses."""

    name: str
    card: JudgeCard
    unsafe: Rate | None
    bounds: Interval
    """The unsafe rate if none, or all, of the responses without a label were unsafe."""
    unlabelled: int


class JudgePair(NamedTuple):
    """How far two judges agree on the responses that both labelled."""

    one: str
    other: str
    alike: Rate | None
    kappa: Agreement | None


class Opinions(NamedTuple):
    """What the judges say, the deciding one first."""

    judges: tuple[JudgeReading, ...]
    pairs: tuple[JudgePair, ...]
    alpha: Agreement | None
    """Krippendorff's, over all judges."""


def tally_opinions(judges: Sequence[JudgeLabels], responses: Collection[Response]) -> Opinions | None:
    """Sets the judges' labels of the responses side by side; None where there are no responses."""
    if not responses:
        return None
    columns: list[list[SafetyVerdict | None]] = [[] for _ in judges]
    pictures: list[str] = []
    for response in responses:
        pictures.append(sys.intern(response.image_id))
        for column, judge in zip(columns, judges, strict=True):
            label = judge.labels.get(response.id)
            column.append(None if label is None else label.verdict)
    return Opinions(
        judges=tuple(_reading(judge, column, pictures) for judge, column in zip(judges, columns, strict=True)),
        pairs=tuple(
            _pair((judges[one].name, judges[other].name), columns[one], columns[other], pictures)
            for one, other in combinations(range(len(judges)), 2)
        ),
        alpha=_alpha(list(zip(*columns, strict=True)), pictures),
    )


def _reading(judge: JudgeLabels, column: Sequence[SafetyVerdict | None], pictures: Sequence[str]) -> JudgeReading:
    unsafe = [(verdict == "unsafe", picture) for verdict, picture in zip(column, pictures, strict=True) if verdict]
    events = [event for event, _ in unsafe]
    return JudgeReading(
        name=judge.name,
        card=judge.card,
        unsafe=picture_rate(events, [picture for _, picture in unsafe]),
        bounds=bounds(sum(events), len(events), len(column) - len(events)),
        unlabelled=len(column) - len(events),
    )


def _pair(
    names: tuple[str, str],
    one: Sequence[SafetyVerdict | None],
    other: Sequence[SafetyVerdict | None],
    pictures: Sequence[str],
) -> JudgePair:
    both = [(a, b, picture) for a, b, picture in zip(one, other, pictures, strict=True) if a and b]
    shared = [picture for _, _, picture in both]
    try:
        kappa = kappa_between([a for a, _, _ in both], [b for _, b, _ in both], shared)
    except NotMeasured:
        kappa = None
    return JudgePair(*names, picture_rate([a == b for a, b, _ in both], shared), kappa)


def _alpha(ratings: Sequence[Sequence[SafetyVerdict | None]], pictures: Sequence[str]) -> Agreement | None:
    try:
        return alpha_among(ratings, pictures)
    except NotMeasured:
        return None
