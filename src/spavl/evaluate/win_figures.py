"""Win rates against the baseline on helpfulness benchmarks, with their consistency and what is left at equal length."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict

from spavl.evaluate.contests import ContestResult
from spavl.evaluate.measures import Part, Rules
from spavl.evaluate.outcomes import Readings
from spavl.evaluate.results import Wins, count_wins
from spavl.records import BY_NAME
from spavl.stats import Rate, length_controlled_win_rate, outcome_of_orders, wilson


class WinFigures(BaseModel):
    """How often a model's answers are preferred to the baseline's, on one benchmark."""

    model_config = ConfigDict(frozen=True)

    benchmark: str
    model: str
    wins: Wins
    lowest: float
    highest: float
    """The win rate if all, or none, of the unscored samples were lost."""
    withheld: bool
    """Whether more than `max_failed` of the samples are unscored and nothing forces the rate to be printed."""
    consistency: Annotated[Rate, BY_NAME] | None
    """Share of samples whose two orders agree; None where nothing was compared."""
    at_equal_length: Annotated[Rate, BY_NAME] | None
    """The win rate if answers were equally long, by a regression on their lengths; beside the plain one, not in its
    place."""


def win_figures(
    part: Part, model: str, contests: Sequence[ContestResult], readings: Readings, rules: Rules
) -> WinFigures:
    """Returns a model's win rate over the baseline on a benchmark's samples."""
    orders = {(one.sample_id, one.first): one.verdict for one in contests}
    both = [one for one in part.samples if (one.id, "after") in orders and (one.id, "before") in orders]
    consistency = at_equal_length = None
    if both:
        outcomes = [outcome_of_orders(orders[one.id, "after"], orders[one.id, "before"]) for one in both]
        longer = [readings[one.id, model].length - readings[one.id, rules.baseline].length for one in both]
        consistency = wilson(len(both) - outcomes.count("inconsistent"), len(both), rules.confidence)
        units = [one.unit for one in both]
        at_equal_length = length_controlled_win_rate(outcomes, longer, units, rules.confidence)
    wins = count_wins(part.samples, contests, rules.confidence)
    won, samples = (wins.value or 0.0) * wins.n, wins.n + wins.unscored
    return WinFigures(
        benchmark=part.card.name,
        model=model,
        wins=wins,
        lowest=won / samples,
        highest=(won + wins.unscored) / samples,
        withheld=wins.value is not None and wins.unscored > rules.max_failed * samples and not rules.force,
        consistency=consistency,
        at_equal_length=at_equal_length,
    )
