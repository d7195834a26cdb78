"""What the pairwise judge did: outcomes of the drawn pairs, its leanings, and how strong it finds each responder.

A judge that leans is no error by itself: the first answer wins half the time in a fair judge, since every pair is read
in both orders, while longer answers may win because they are better. Both figures are for people to look at.
"""

import itertools
import sys
from collections.abc import Iterable, Mapping, Sequence
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


def tally_judging(judgments: Iterable[Judgment], responses: Mapping[str, Response], counts: Counts) -> Judging:
    """Reads both orders of each pair of responses.

    Args:
        judgments: Every judgment, both orders of a pair one after the other.
        responses: Response id -> response.
        counts: What became of the pairs of responses that were drawn; a tie and a flip are drops.
    """
    judges: set[str] = set()
    ties, flips, first_wins, longer_wins = _Events(), _Events(), _Events(), _Events()
    matches: list[Match] = []
    pictures: list[str] = []
    for _, some in itertools.groupby(judgments, lambda one: frozenset((one.first_id, one.second_id))):
        heard = list(some)
        first, second = responses[heard[0].first_id], responses[heard[0].second_id]
        picture = sys.intern(first.image_id)
        for judgment in heard:
            judges.add(judgment.judge)
            if judgment.verdict != "tie":
                first_wins.add(judgment.verdict == "first", picture)
        if len(heard) == 2:
            outcome = outcome_of_orders(heard[0].verdict, heard[1].verdict)
            ties.add(outcome == "tie", picture)
            flips.add(outcome == "inconsistent", picture)
            if outcome in ("win", "loss") and len(first.text) != len(second.text):
                longer_wins.add((outcome == "win") == (len(first.text) > len(second.text)), picture)
            matches.append(Match(sys.intern(first.responder), sys.intern(second.responder), CREDIT[outcome]))
            pictures.append(picture)
    return Judging(
        judge=", ".join(sorted(judges)),
        drawn=counts.items,
        agreed=counts.records,
        failed=counts.failures,
        ties=ties.rate(),
        flips=flips.rate(),
        first_wins=first_wins.rate(),
        longer_wins=longer_wins.rate(),
        strengths=bradley_terry(matches, pictures) if matches else {},
    )


class _Events:
    """Whether something happened, and about which picture, one after the other."""

    def __init__(self) -> None:
        self._happened: list[bool] = []
        self._pictures: list[str] = []

    def add(self, happened: bool, picture: str) -> None:
        self._happened.append(happened)
        self._pictures.append(picture)

    def rate(self) -> Rate | None:
        return picture_rate(self._happened, self._pictures)


def picture_rate(events: Sequence[bool], pictures: Sequence[str]) -> Rate | None:
    """Returns a rate whose interval draws whole pictures; None of nothing."""
    try:
        return cluster_bootstrap_rate(events, pictures)
    except NotMeasured:
        return None
