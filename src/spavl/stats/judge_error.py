"""What a judge's errors may do to a rate or a change where no person has labelled anything: a band over stated errors.

It is no interval: it says which true values are possible if the judge's sensitivity and specificity lie in a box, and
leaves out that the items are a sample.
"""

from itertools import product
from typing import NamedTuple

from spavl.stats.rates import Interval


class ErrorBox(NamedTuple):
    """The sensitivities and specificities a judge may have, each from 0 to 1."""

    sensitivity: Interval
    specificity: Interval


def corrected_rate(judged: float, sensitivity: float, specificity: float) -> float:
    """Returns the true rate behind a judged one (Rogan and Gladen 1978).

        p = (q + Sp - 1) / (Se + Sp - 1), kept within 0 and 1

    Args:
        judged: q, the share of items the judge calls events.
        sensitivity: Se, the share of true events it calls events.
        specificity: Sp, the share of true non-events it leaves alone.

    Raises:
        ValueError: A share is not between 0 and 1, or the judge is no better than chance (Se + Sp <= 1).
    """
    if not all(0 <= share <= 1 for share in (judged, sensitivity, specificity)):
        raise ValueError(f"rate {judged}, sensitivity {sensitivity}, specificity {specificity}: each is from 0 to 1")
    if sensitivity + specificity <= 1:
        raise ValueError(f"a judge of sensitivity {sensitivity} and specificity {specificity} tells nothing")
    return min(1.0, max(0.0, (judged + specificity - 1) / (sensitivity + specificity - 1)))


def rate_band(judged: float, box: ErrorBox) -> Interval:
    """Returns the least and the greatest true rate that a judge within the box allows.

    The corrected rate falls with Se and rises with Sp, or is cut off at 0 or 1, so its extremes are at corners.

    Raises:
        ValueError: As `corrected_rate`, at any corner of the box.
    """
    rates = [corrected_rate(judged, *corner) for corner in product(box.sensitivity, box.specificity)]
    return Interval(min(rates), max(rates))


def change_band(before: float, after: float, box: ErrorBox) -> Interval:
    """Returns the least and the greatest true change, after minus before, that a judge within the box allows.

    Its errors may differ before and after: a model that was aligned answers in another style, and is misread otherwise.

    Raises:
        ValueError: As `corrected_rate`, at any corner of the box.
    """
    old, new = rate_band(before, box), rate_band(after, box)
    return Interval(new.low - old.high, new.high - old.low)
