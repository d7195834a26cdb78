"""How far two raters agree, and how often a judge is right where the truth is known."""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from spavl.stats.bootstrap import Clusters, Resampling
from spavl.stats.rates import Interval, NotMeasured, Rate, wilson

Numbers = npt.NDArray[np.float64]
ORDINARY = Resampling()


class JudgeAccuracy(NamedTuple):
    """How often a judge finds what is there, and leaves alone what is not."""

    sensitivity: Rate
    """Share of the true events it calls events."""
    specificity: Rate
    """Share of the true non-events it calls non-events."""


class Agreement(NamedTuple):
    """Agreement beyond chance with its interval: 1 is perfect, 0 what chance gives."""

    value: float
    n: int
    """Items that at least two raters rated."""
    low: float
    high: float


class _Disagreement(NamedTuple):
    """Shares of pairs of ratings that differ: those that do, and those that chance would make differ."""

    observed: Numbers
    expected: Numbers


def cohen_kappa(a: Sequence[Hashable], b: Sequence[Hashable]) -> float:
    """Returns Cohen's kappa (1960): (observed - expected) / (1 - expected) agreement of two raters.

    Expected is the agreement of two raters who deal out the same labels at random. Where one label is rare, kappa is
    low even if nearly all items agree: print the labels' shares beside it.

    Raises:
        NotMeasured: There are no items, or both raters gave all of them one and the same label.
        ValueError: The raters rated different numbers of items.
    """
    return _point(_kappa_disagreement(_kappa_sums(a, b, np.zeros(len(a), dtype=np.intp)).sum(axis=0)), "kappa")


def kappa_between(
    a: Sequence[Hashable], b: Sequence[Hashable], clusters: Clusters, resampling: Resampling = ORDINARY
) -> Agreement:
    """Returns Cohen's kappa with a percentile interval under draws of whole clusters; see `_interval`.

    Raises:
        NotMeasured: There are no items, or both raters gave all of them one and the same label.
        ValueError: The raters or the clusters differ in number.
    """
    value = cohen_kappa(a, b)
    sums = _kappa_sums(a, b, _index(clusters, len(a)))
    return Agreement(value, len(a), *_interval(value, sums, _kappa_disagreement, resampling))


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
    return _point(_alpha_disagreement(_alpha_sums(ratings, np.zeros(len(ratings), dtype=np.intp)).sum(axis=0)), "alpha")


def alpha_among(
    ratings: Sequence[Sequence[Hashable | None]], clusters: Clusters, resampling: Resampling = ORDINARY
) -> Agreement:
    """Returns Krippendorff's alpha with a percentile interval under draws of whole clusters; see `_interval`.

    Raises:
        NotMeasured: No item has two ratings, or all ratings are the same.
        ValueError: Ratings and clusters differ in number.
    """
    value = krippendorff_alpha(ratings)
    rated = [place for place, item in enumerate(ratings) if sum(rating is not None for rating in item) > 1]
    index = _index([str(clusters[place]) for place in rated], len(rated))
    sums = _alpha_sums([ratings[place] for place in rated], index)
    return Agreement(value, len(rated), *_interval(value, sums, _alpha_disagreement, resampling))


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


def _index(clusters: Clusters, items: int) -> npt.NDArray[np.intp]:
    if len(clusters) != items:
        raise ValueError(f"{items} items, but clusters of {len(clusters)}")
    return np.unique(np.asarray(clusters), return_inverse=True)[1]


def _kappa_sums(a: Sequence[Hashable], b: Sequence[Hashable], index: npt.NDArray[np.intp]) -> Numbers:
    """Returns (K, L, L): each cluster's table of the two raters' labels."""
    if len(a) != len(b):
        raise ValueError(f"one rater has {len(a)} items, the other {len(b)}")
    if not len(a):
        raise NotMeasured("agreement needs at least one item")
    place = {label: number for number, label in enumerate(dict.fromkeys([*a, *b]))}
    sums = np.zeros((int(index.max()) + 1, len(place), len(place)))
    for cluster, one, other in zip(index, a, b, strict=True):
        sums[cluster, place[one], place[other]] += 1
    return sums


def _kappa_disagreement(sums: Numbers) -> _Disagreement:
    """Takes (..., L, L) to two of (...)."""
    items = sums.sum(axis=(-2, -1))
    alike = np.trace(sums, axis1=-2, axis2=-1)
    by_chance = (sums.sum(axis=-1) * sums.sum(axis=-2)).sum(axis=-1)
    return _Disagreement((items - alike) / items, (items**2 - by_chance) / items**2)


def _alpha_sums(ratings: Sequence[Sequence[Hashable | None]], index: npt.NDArray[np.intp]) -> Numbers:
    """Returns (K, 1 + L): a cluster's ordered pairs that differ, each over its item's raters - 1, and its labels."""
    counts = [Counter(rating for rating in item if rating is not None) for item in ratings]
    kept = [(cluster, count) for cluster, count in zip(index, counts, strict=True) if count.total() > 1]
    if not kept:
        raise NotMeasured("alpha needs at least one item with two ratings")
    place = {label: number for number, label in enumerate(dict.fromkeys(label for _, count in kept for label in count))}
    sums = np.zeros((int(index.max()) + 1, 1 + len(place)))
    for cluster, count in kept:
        size = count.total()
        sums[cluster, 0] += (size**2 - sum(n**2 for n in count.values())) / (size - 1)
        for label, n in count.items():
            sums[cluster, 1 + place[label]] += n
    return sums


def _alpha_disagreement(sums: Numbers) -> _Disagreement:
    """Takes (..., 1 + L) to two of (...)."""
    labels = sums[..., 1:]
    total = labels.sum(axis=-1)
    return _Disagreement(sums[..., 0] / total, (total**2 - (labels**2).sum(axis=-1)) / (total * (total - 1)))


def _point(found: _Disagreement, name: str) -> float:
    if not found.expected:
        raise NotMeasured(f"{name} is 0/0 where all ratings are the same")
    return float(1 - found.observed / found.expected)


def _interval(
    value: float, sums: Numbers, disagreement: Callable[[Numbers], _Disagreement], resampling: Resampling
) -> Interval:
    """Returns the percentile interval of 1 - observed / expected under draws of clusters with replacement.

    Draws in which it is 0/0 are left out. Where all draws agree, as where nothing was disagreed on, a share u of
    unseen clusters may differ, u being Wilson's upper limit for 0 of K: the observed disagreement o is then between
    o (1 - u) and o + u (1 - o).
    """
    random = np.random.default_rng(resampling.seed)
    size = len(sums)
    flat = sums.reshape(size, -1)
    drawn = [np.bincount(random.integers(size, size=size), minlength=size) @ flat for _ in range(resampling.draws)]
    found = disagreement(np.stack(drawn).reshape(-1, *sums.shape[1:]))
    usable = found.expected > 0
    values = 1 - found.observed[usable] / found.expected[usable]
    if not values.size or np.ptp(values) < 1e-12:
        observed, expected = disagreement(sums.sum(axis=0))
        unseen = wilson(0, size, resampling.confidence).high
        low, high = (1 - share / expected for share in (observed + unseen * (1 - observed), observed * (1 - unseen)))
        return Interval(float(low), float(high))
    tail = (1 - resampling.confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return Interval(min(float(low), value), max(float(high), value))
