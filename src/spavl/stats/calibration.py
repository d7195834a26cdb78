"""Calibration: of all the times that something was said with 80 % confidence, how often was it right?"""

from collections.abc import Sequence
from typing import NamedTuple

from spavl.stats.rates import NotMeasured, Rate, wilson


class Bin(NamedTuple):
    """What was said with about the same confidence."""

    confidence: float
    """Mean confidence."""
    right: Rate


class Calibration(NamedTuple):
    """How far confidence and being right are apart."""

    error: float
    """Expected calibration error: Σ n_b / n |right_b - confidence_b| (Naeini et al. 2015)."""
    bins: tuple[Bin, ...]
    """From the least confidence to the greatest; empty ones are left out."""


def calibration(confidences: Sequence[float], right: Sequence[bool], bins: int = 5) -> Calibration:
    """Compares confidences, from 0.5 to 1 as those of the likelier of two, with how often they were right.

    Args:
        confidences: One an item.
        right: Whether the likelier one was the right one.
        bins: Bins of equal width.

    Raises:
        NotMeasured: There are no items.
        ValueError: The two differ in number, or a confidence is outside [0.5, 1].
    """
    if not confidences:
        raise NotMeasured("calibration needs at least one item")
    if not all(0.5 <= one <= 1 for one in confidences):
        raise ValueError("a confidence of the likelier of two is from 0.5 to 1")
    members: list[list[tuple[float, bool]]] = [[] for _ in range(bins)]
    for one, was_right in zip(confidences, right, strict=True):
        members[min(int((one - 0.5) * 2 * bins), bins - 1)].append((one, was_right))
    found = tuple(_bin(some) for some in members if some)
    error = sum(one.right.n * abs(one.right.value - one.confidence) for one in found) / len(confidences)
    return Calibration(error, found)


def _bin(members: Sequence[tuple[float, bool]]) -> Bin:
    mean = sum(confidence for confidence, _ in members) / len(members)
    return Bin(mean, wilson(sum(right for _, right in members), len(members)))
