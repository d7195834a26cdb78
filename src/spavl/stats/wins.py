"""How often a candidate beats a baseline, each pair of answers being judged in both orders."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from spavl.records import OrderVerdict
from spavl.stats.bootstrap import Clusters, cluster_bootstrap_rate
from spavl.stats.rates import Rate, wilson

Outcome = Literal["win", "tie", "loss", "inconsistent"]
CREDIT: dict[Outcome, float] = {"win": 1.0, "tie": 0.5, "loss": 0.0, "inconsistent": 0.5}
"""How much of a win an outcome is."""


class WinRate(NamedTuple):
    """A win rate, what it is made of, and how often the judge said the same in both orders."""

    rate: Rate
    wins: int
    ties: int
    losses: int
    inconsistent: int
    consistency: Rate
    """Share of items whose two verdicts agree."""


def outcome_of_orders(candidate_first: OrderVerdict, candidate_second: OrderVerdict) -> Outcome:
    """Reads the two verdicts on one pair of answers.

    Args:
        candidate_first: The verdict where the candidate's answer came first.
        candidate_second: The verdict where it came second.

    Returns:
        `win`, `loss` or `tie` if both verdicts say so, and `inconsistent` otherwise, a tie in one order included.
    """
    agreed: dict[tuple[OrderVerdict, OrderVerdict], Outcome] = {
        ("first", "second"): "win",
        ("second", "first"): "loss",
        ("tie", "tie"): "tie",
    }
    return agreed.get((candidate_first, candidate_second), "inconsistent")


def win_rate(
    outcomes: Sequence[Outcome],
    clusters: Clusters | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    draws: int = 2000,
) -> WinRate:
    """Estimates the win rate: (wins + ties / 2 + inconsistent / 2) / all items.

    An order flip is no evidence either way, so it counts like a tie and is reported apart. SPA-VL leaves such items
    out instead, which makes a judge that flips often look as sure as one that never does. Items without a verdict
    are not outcomes and do not belong in here.

    Args:
        outcomes: One outcome an item.
        clusters: The cluster of each item; left out, every item stands alone.
        confidence: Level of the intervals: a bootstrap over clusters for the rate, Wilson's for the consistency.
        seed: Seed of the draws.
        draws: Bootstrap draws.

    Raises:
        NotMeasured: There are no items.
        ValueError: Outcomes and clusters differ in number.
    """
    credits = [CREDIT[outcome] for outcome in outcomes]
    alone = range(len(outcomes)) if clusters is None else clusters
    inconsistent = outcomes.count("inconsistent")
    return WinRate(
        rate=cluster_bootstrap_rate(credits, alone, confidence, seed, draws),
        wins=outcomes.count("win"),
        ties=outcomes.count("tie"),
        losses=outcomes.count("loss"),
        inconsistent=inconsistent,
        consistency=wilson(len(outcomes) - inconsistent, len(outcomes), confidence),
    )
