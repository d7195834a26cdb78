"""Rates of independent items with Wilson's interval, and the bounds that unscored items leave."""

from math import sqrt
from statistics import NormalDist
from typing import NamedTuple


class NotMeasured(ValueError):
    """There is nothing to estimate from; print "not measured"."""


class Interval(NamedTuple):
    """Two limits, both included."""

    low: float
    high: float


class Rate(NamedTuple):
    """A share of items, from 0 to 1, with its confidence interval."""

    value: float
    n: int
    """Items it was measured on."""
    low: float
    high: float


def wilson(events: int, n: int, confidence: float = 0.95) -> Rate:
    """Estimates the rate of an event among independent items.

    Wilson's score interval (1927): the rates p with |events/n - p| <= z sqrt(p (1 - p) / n). It stays inside [0, 1]
    and keeps a width at 0 and at n events, where the textbook interval shrinks to a point.

    Raises:
        NotMeasured: There are no items.
        ValueError: `events` is not between 0 and n, or `confidence` not between 0 and 1.
    """
    if not n:
        raise NotMeasured("a rate needs at least one item")
    if not 0 <= events <= n:
        raise ValueError(f"{events} events among {n} items")
    check_confidence(confidence)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    value = events / n
    centre = (value + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * sqrt(value * (1 - value) / n + z**2 / (4 * n**2))
    low = centre - half if events else 0.0
    high = centre + half if events < n else 1.0
    return Rate(value, n, low, high)


def bounds(events: int, scored: int, unscored: int) -> Interval:
    """Returns the least and the greatest rate that the unscored items allow: none of them an event, or all.

    Raises:
        NotMeasured: There are no items at all.
        ValueError: A count is negative, or there are more events than scored items.
    """
    if not 0 <= events <= scored or unscored < 0:
        raise ValueError(f"{events} events among {scored} scored items, {unscored} unscored")
    items = scored + unscored
    if not items:
        raise NotMeasured("bounds need at least one item")
    return Interval(events / items, (events + unscored) / items)


def check_confidence(confidence: float) -> None:
    """Refuses a confidence level that is not a share.

    Raises:
        ValueError: It is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence}: choose a level between 0 and 1, for example 0.95")
