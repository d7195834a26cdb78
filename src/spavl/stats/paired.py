"""Before and after on the same items: the change of a rate, what was fixed and broken, the exact test, and margins.

It takes the judge's events as true; where the judge's error may have changed between the two runs, the change is the
judge's, not yet the model's.
"""

from collections import defaultdict
from collections.abc import Sequence
from math import erfc, gcd, sqrt
from typing import Literal, NamedTuple

import numpy as np

from spavl.stats.bootstrap import Clusters, Resampling, bootstrap_mean
from spavl.stats.rates import Interval

STEPS = 3000
"""Parts of a point that a difference is read in: thirds, tenths and thousandths are whole numbers of them."""
MOST_WORK = 10**9
"""Additions of the exact distribution above which the normal one is taken; events reach it at 30,000 clusters."""


class PairedChange(NamedTuple):
    """The change of an event's rate, `after` minus `before`, and the 2 x 2 table behind it."""

    value: float
    n: int
    """Items scored both times."""
    low: float
    high: float
    fixed: int
    """Items with the event before only."""
    broken: int
    """Items with the event after only."""
    both: int
    neither: int
    p_value: float
    """Exact test of "no change" by whole clusters (`sign_flip_exact`); where items stand alone, McNemar's."""


def paired_change(
    before: Sequence[bool],
    after: Sequence[bool],
    clusters: Clusters | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    draws: int = 2000,
) -> PairedChange:
    """Compares an event on the same items before and after.

    Args:
        before: Whether each item had the event before.
        after: Whether it had the event after, in the same order.
        clusters: The cluster of each item; left out, every item stands alone.
        confidence: Level of the interval, a bootstrap over clusters of the items' differences.
        seed: Seed of the draws.
        draws: Bootstrap draws.

    Raises:
        NotMeasured: There are no items.
        ValueError: The sequences differ in length.
    """
    if len(before) != len(after):
        raise ValueError(f"{len(before)} items before, {len(after)} after: pair them by sample first")
    pairs = [(bool(old), bool(new)) for old, new in zip(before, after, strict=True)]
    fixed, broken = pairs.count((True, False)), pairs.count((False, True))
    differences = [float(new) - float(old) for old, new in pairs]
    units = range(len(pairs)) if clusters is None else clusters
    low, high = bootstrap_mean(differences, units, Interval(-1, 1), Resampling(confidence, seed, draws))
    return PairedChange(
        value=(broken - fixed) / len(pairs),
        n=len(pairs),
        low=low,
        high=high,
        fixed=fixed,
        broken=broken,
        both=pairs.count((True, True)),
        neither=pairs.count((False, False)),
        p_value=sign_flip_exact(differences, units),
    )


def sign_flip_exact(differences: Sequence[float], clusters: Clusters) -> float:
    """Returns the exact two-sided p of "no change" for items that rise and fall by clusters.

    Under "no change" the summed differences d_i of a whole cluster have either sign like a coin (Fisher 1935):
    p = P(|Σ s_i d_i| >= |Σ d_i|) over all signs s_i. Of events in clusters of one item it is McNemar's. Without
    clusters that changed p is 1.

    Args:
        differences: After minus before, one an item, from -1 to 1; read to a `STEPS`-th of a point.
        clusters: The cluster of each item.

    Raises:
        ValueError: Differences and clusters differ in number.
    """
    sums: dict[object, int] = defaultdict(int)
    for difference, cluster in zip(differences, clusters, strict=True):
        sums[cluster] += round(difference * STEPS)
    changed = [one for one in sums.values() if one]
    unit = gcd(*changed)
    changed = [one // unit for one in changed]
    sizes = [abs(one) for one in changed]
    if set(sizes) <= {1}:
        return mcnemar_exact(changed.count(-1), changed.count(1))
    total, seen = sum(sizes), abs(sum(changed))
    if total * len(sizes) > MOST_WORK:
        return erfc(seen / sqrt(2 * sum(size**2 for size in sizes)))
    chance = np.zeros(total + 1)  # (total + 1,): that the clusters of sign + sum to so much
    chance[0] = 1
    for size in sizes:
        chance /= 2
        chance[size:] += chance[:-size].copy()
    far = np.abs(2 * np.arange(total + 1) - total) >= seen
    return min(1.0, float(chance[far].sum()))


def mcnemar_exact(b: int, c: int) -> float:
    """Returns the exact two-sided p of McNemar's test.

    Under "no change" a discordant item falls either way like a coin: p = min(1, 2 P(X <= min(b, c))),
    X ~ Binomial(b + c, 1/2). Without discordant items p is 1.

    Args:
        b: Items with the event in the first condition only.
        c: Items with the event in the second condition only.

    Raises:
        ValueError: A count is negative.
    """
    if min(b, c) < 0:
        raise ValueError(f"discordant counts {b} and {c}: neither may be negative")
    ways = tail = 1  # C(b + c, 0), and the sum so far
    for k in range(min(b, c)):
        ways = ways * (b + c - k) // (k + 1)
        tail += ways
    return min(1.0, 2 * tail / (1 << (b + c)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusts p values for being several tests (Holm 1979); below the level, each may be called significant.

    In rising order the k-th of m is multiplied by m - k + 1, and none may come out below the one before it.

    Returns:
        The adjusted values, in the order given.

    Raises:
        ValueError: A p value is not between 0 and 1.
    """
    _check_p_values(p_values)
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def _check_p_values(p_values: Sequence[float]) -> None:
    if not all(0 <= p <= 1 for p in p_values):
        raise ValueError("a p value lies outside 0 to 1")


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjusts p values so that at a level q at most a share q of those called changes is expected to be none (1995).

    In falling order the k-th smallest of m is multiplied by m / k, and none may come out above the one after it. It is
    for looking around, category by category; for claims take `holm`.

    Returns:
        The adjusted values, in the order given.

    Raises:
        ValueError: A p value is not between 0 and 1.
    """
    _check_p_values(p_values)
    adjusted = [0.0] * len(p_values)
    running = 1.0
    falling = sorted(range(len(p_values)), key=lambda index: p_values[index], reverse=True)
    for passed, index in enumerate(falling):
        running = min(running, p_values[index] * len(p_values) / (len(p_values) - passed))
        adjusted[index] = running
    return adjusted


NonInferiority = Literal["not worse", "worse", "not shown"]


def non_inferiority(change: Interval, margin: float) -> NonInferiority:
    """Says whether something that should be high has kept its height, give or take a margin that was stated before.

    Args:
        change: The interval of the change, after minus before.
        margin: The largest loss that is let pass, above 0, in the unit of the change.

    Returns:
        `not worse` if the whole interval lies above -margin, `worse` if it lies below, otherwise `not shown`: "no
        significant drop" is not among the answers.

    Raises:
        ValueError: The margin is not above 0.
    """
    if margin <= 0:
        raise ValueError(f"margin {margin}: state a loss above 0")
    if change.low > -margin:
        return "not worse"
    return "worse" if change.high < -margin else "not shown"
