"""How far two raters agree, and how often a judge is right where the truth is known."""

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import NamedTuple

from spavl.stats.rates import NotMeasured, Rate, wilson


class JudgeAccuracy(NamedTuple):
    """How often a judge finds what is there, and leaves alone what is not."""

    sensitivity: Rate
    """Share of the true events it calls events."""
    specificity: Rate
    """Share of the true non-events it calls non-events."""


def cohen_kappa(a: Sequence[Hashable], b: Sequence[Hashable]) -> float:
    """Returns Cohen's kappa (1960): (observed - expected) / (1 - expected) agreement of two raters.

    Expected is the agreement of two raters who deal out the same labels at random. Where one label is rare, kappa is
    low even if nearly all items agree: print the labels' shares beside it.

    Raises:
        NotMeasured: There are no items, or both raters gave all of them one and the same label.
        ValueError: The raters rated different numbers of items.
    """
    if len(a) != len(b):
        raise ValueError(f"one rater has {len(a)} items, the other {len(b)}")
    if not len(a):
        raise NotMeasured("agreement needs at least one item")
    items = len(a)
    in_a, in_b = Counter(a), Counter(b)
    expected = sum(in_a[label] * in_b[label] for label in in_a)  # times items squared
    if expected == items**2:
        raise NotMeasured("kappa is 0/0 where both raters give every item the same label")
    observed = sum(x == y for x, y in zip(a, b, strict=True))
    return (observed * items - expected) / (items**2 - expected)


def gwet_ac1(a: Sequence[Hashable], b: Sequence[Hashable]) -> float:
    """Returns Gwet's AC1 (2008): as kappa, with a chance agreement that does not grow where one label is rare.

        expected = Σ over labels of π (1 - π) / (labels - 1), π the label's mean share

    Raises:
        NotMeasured: There are no items.
        ValueError: The raters rated different numbers of items.
    """
    if len(a) != len(b):
        raise ValueError(f"one rater has {len(a)} items, the other {len(b)}")
    if not len(a):
        raise NotMeasured("agreement needs at least one item")
    shares = [count / (2 * len(a)) for count in Counter([*a, *b]).values()]
    observed = sum(x == y for x, y in zip(a, b, strict=True)) / len(a)
    if len(shares) == 1:
        return 1.0
    expected = sum(share * (1 - share) for share in shares) / (len(shares) - 1)
    return (observed - expected) / (1 - expected)


def krippendorff_alpha(ratings: Sequence[Sequence[Hashable | None]]) -> float:
    """Returns Krippendorff's alpha for labels without an order (2011, "Computing Krippendorff's Alpha-Reliability").

        α = 1 - D_observed / D_expected

    Unlike kappa it takes any number of raters and items that some of them left out; items with fewer than two ratings
    tell nothing and are left out.

    Args:
        ratings: One sequence an item, a rating a rater; None where a rater gave none.

    Raises:
        NotMeasured: No item has two ratings, or all ratings are the same.
    """
    items = [[rating for rating in item if rating is not None] for item in ratings]
    counts = [Counter(item) for item in items if len(item) > 1]
    total = Counter[Hashable]()
    observed = 0.0
    for count in counts:
        size = count.total()
        total += count
        observed += (size**2 - sum(n**2 for n in count.values())) / (size - 1)  # ordered pairs that differ
    pairable = total.total()
    if not pairable:
        raise NotMeasured("alpha needs at least one item with two ratings")
    expected = (pairable**2 - sum(n**2 for n in total.values())) / (pairable - 1)
    if not expected:
        raise NotMeasured("alpha is 0/0 where all ratings are the same")
    return 1 - observed / expected


def sensitivity_specificity(
    truth: Sequence[bool], predicted: Sequence[bool], confidence: float = 0.95
) -> JudgeAccuracy:
    """Measures a judge against known truth, with Wilson intervals.

    Items the judge left unscored do not belong in here; count them beside it.

    Raises:
        NotMeasured: The truth has no events, or nothing but events.
        ValueError: The sequences differ in length.
    """
    if len(truth) != len(predicted):
        raise ValueError(f"truth has {len(truth)} items, the prediction {len(predicted)}")
    cells = Counter((bool(actual), bool(said)) for actual, said in zip(truth, predicted, strict=True))
    hits, misses = cells[True, True], cells[True, False]
    rejections, false_alarms = cells[False, False], cells[False, True]
    return JudgeAccuracy(
        sensitivity=wilson(hits, hits + misses, confidence),
        specificity=wilson(rejections, rejections + false_alarms, confidence),
    )
