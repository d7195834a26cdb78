"""What the training log adds up to: its length, its alarms, and the margin by which answer is the longer one. Pure."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from spavl.report.gather import TrainingStep

LAST_SHARE = 0.25
"""Share of the steps, the last ones, whose margins are the final ones: a single step has few pairs."""
LENGTHS = ("shorter", "alike", "longer")
"""The chosen answer against the rejected one."""


class Margin(NamedTuple):
    """A mean reward margin."""

    n: int
    """Pairs."""
    value: float | None
    """None without pairs."""


class Training(NamedTuple):
    """What the training log adds up to."""

    steps: int
    tokens: int
    seconds: float
    alarms: int
    """Steps at which the preferred answers had become less likely."""
    first_alarm: int | None
    """The first of them."""
    last_shift: float | None
    """Chosen log-probability minus the reference's, at the last step that has one; None where none has."""
    last_steps: int
    """Steps that the final margins are taken over."""
    margins: Mapping[str, Margin]
    """Chosen answer `shorter`, `alike` or `longer`, and `all` -> final margin; empty where the log does not say."""


def tally_training(steps: Sequence[TrainingStep]) -> Training | None:
    """Returns what the steps add up to; None without steps."""
    if not steps:
        return None
    alarms = [step.step for step in steps if step.chosen_falling]
    last = steps[-math.ceil(LAST_SHARE * len(steps)) :]
    return Training(
        steps=len(steps),
        tokens=sum(step.tokens for step in steps),
        seconds=sum(step.seconds for step in steps),
        alarms=len(alarms),
        first_alarm=alarms[0] if alarms else None,
        last_shift=next((step.chosen_shift for step in reversed(steps) if step.chosen_shift is not None), None),
        last_steps=len(last),
        margins=_margins(last) if all(step.pairs_by_length for step in last) else {},
    )


def _margins(steps: Sequence[TrainingStep]) -> dict[str, Margin]:
    """Returns the means over all pairs of these steps."""
    found = {
        length: [
            (step.pairs_by_length[length], margin)
            for step in steps
            if (margin := step.margins_by_length[length]) is not None
        ]
        for length in LENGTHS
    }
    means = {length: _mean(counted) for length, counted in found.items()}
    return means | {"all": _mean([counted for length in LENGTHS for counted in found[length]])}


def _mean(counted: Sequence[tuple[int, float]]) -> Margin:
    """Returns the mean of means, each over a number of pairs."""
    n = sum(pairs for pairs, _ in counted)
    return Margin(n, sum(pairs * margin for pairs, margin in counted) / n if n else None)
