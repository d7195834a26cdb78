"""What the pairwise judge did: outcomes of the drawn pairs, its leanings, and how strong it finds each responder.

A judge that leans is no error by itself: the first answer wins half the time in a fair judge, since every pair is read
in both orders, while longer answers may win because they are better. Both figures are for people to look at.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from spavl.records import Judgment, Response
from spavl.stats import (
    CREDIT,
    Match,
    NotMeasured,
    Rate,
    Strength,
    bradley_terry,
    cluster_bootstrap_rate,
    outcome_of_orders,
)
from spavl.store import Counts


class Judging(NamedTuple):
    """What became of the pairs of responses that were drawn for comparison."""

    judge: str
    """The judge's name; empty where it said nothing."""
    drawn: int
    agreed: int
    """Pairs that both orders agree on and that became preference pairs."""
    failed: int
    """Pairs without two judgments, or without a label."""
    ties: Rate | None
    """Among the pairs judged in both orders."""
    flips: Rate | None
    """Among the pairs judged in both orders."""
    first_wins: Rate | None
    """How often the answer that stood first won, among single verdicts that are no tie."""
    longer_wins: Rate | None
    """How often the answer with more characters won, among pairs won in both orders by answers of unequal length."""
    strengths: Mapping[str, Strength]
    """Responder -> strength, the strongest first; a tie, or a verdict that changes with the order, is half a win."""


def tally_judging(judgments: Sequence[Judgment], responses: Sequence[Response], counts: Counts) -> Judging:
    """Reads both orders of each pair of responses.

    Args:
        judgments: Every judgment.
        responses: The responses that were compared.
        counts: What became of the pairs of responses that were drawn; a tie and a flip are drops.
    """
    by_id = {response.id: response for response in responses}
    orders: dict[tuple[str, str], list[Judgment]] = {}
    for judgment in judgments:
        low, high = sorted((judgment.first_id, judgment.second_id))
        orders.setdefault((low, high), []).append(judgment)
    both = [pair for pair in orders.values() if len(pair) == 2]
    outcomes = [outcome_of_orders(one.verdict, other.verdict) for one, other in both]
    pictures = [by_id[one.first_id].image_id for one, _ in both]
    rivals = [(by_id[one.first_id], by_id[one.second_id]) for one, _ in both]
    decided = [judgment for judgment in judgments if judgment.verdict != "tie"]
    unequal = [
        ((outcome == "win") == (len(first.text) > len(second.text)), first.image_id)
        for outcome, (first, second) in zip(outcomes, rivals, strict=True)
        if outcome in ("win", "loss") and len(first.text) != len(second.text)
    ]
    matches = [
        Match(first.responder, second.responder, CREDIT[outcome])
        for outcome, (first, second) in zip(outcomes, rivals, strict=True)
    ]
    return Judging(
        judge=", ".join(sorted({judgment.judge for judgment in judgments})),
        drawn=counts.items,
        agreed=counts.records,
        failed=counts.failures,
        ties=picture_rate([outcome == "tie" for outcome in outcomes], pictures),
        flips=picture_rate([outcome == "inconsistent" for outcome in outcomes], pictures),
        first_wins=picture_rate(
            [judgment.verdict == "first" for judgment in decided],
            [by_id[judgment.first_id].image_id for judgment in decided],
        ),
        longer_wins=picture_rate([longer for longer, _ in unequal], [image_id for _, image_id in unequal]),
        strengths=bradley_terry(matches, pictures) if matches else {},
    )


def picture_rate(events: Sequence[bool], pictures: Sequence[str]) -> Rate | None:
    """Returns a rate whose interval draws whole pictures; None of nothing."""
    try:
        return cluster_bootstrap_rate(events, pictures)
    except NotMeasured:
        return None
