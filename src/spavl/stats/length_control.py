"""A win rate at equal length: what is left of a preference when neither answer is the longer one."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from spavl.stats.bootstrap import Clusters, Resampling, bootstrap_mean
from spavl.stats.rates import Interval, NotMeasured, Rate, check_confidence
from spavl.stats.wins import CREDIT, Outcome

Values = npt.NDArray[np.float64]

_FURTHEST = 20.0
"""Where the coefficients are stopped, for outcomes that lengths tell apart without error."""


def length_controlled_win_rate(
    outcomes: Sequence[Outcome],
    longer_by: Sequence[float],
    clusters: Clusters | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    draws: int = 2000,
) -> Rate:
    """Estimates the win rate that the candidate would have if its answers were as long as the baseline's.

    A logistic regression of the outcome on the difference of lengths, read at difference 0 (the length term of
    length-controlled AlpacaEval, Dubois et al. 2024, arXiv 2404.04475):

        P(win) = σ(θ + γ tanh(d / s)), d the difference, s its root mean square; the rate is σ(θ)

    Ties and inconsistent outcomes count as half a win and half a loss. It takes length for a habit of the judge; where
    longer answers are better, it takes away what was earned. Print it beside the plain rate, not in its place.

    Args:
        outcomes: One outcome an item.
        longer_by: The candidate's length minus the baseline's, one an item, in any unit.
        clusters: The cluster of each item; left out, every item stands alone.
        confidence: Level of the percentile interval over draws of clusters; of `bootstrap_mean` of outcomes all alike.
        seed: Seed of the draws.
        draws: Bootstrap draws.

    Raises:
        NotMeasured: There are no items.
        ValueError: The sequences differ in length.
    """
    if not len(outcomes) == len(longer_by) == len(outcomes if clusters is None else clusters):
        raise ValueError(f"{len(outcomes)} outcomes, {len(longer_by)} lengths: they and the clusters go item by item")
    if not len(outcomes):
        raise NotMeasured("a win rate needs at least one item")
    check_confidence(confidence)
    credits = np.array([CREDIT[outcome] for outcome in outcomes])
    difference = np.asarray(longer_by, dtype=float)
    scale = float(np.sqrt((difference**2).mean()))
    lean = np.tanh(difference / scale) if scale else difference
    value = _rate_at_equal_length(credits, lean)
    if not np.ptp(credits):  # every draw would give the same rate: an interval of no width
        every = bootstrap_mean(
            credits.tolist(), clusters or range(len(credits)), Interval(0, 1), Resampling(confidence)
        )
        return Rate(value, len(credits), min(every.low, value), max(every.high, value))
    index = np.unique(np.arange(len(credits)) if clusters is None else np.asarray(clusters), return_inverse=True)[1]
    members = [np.flatnonzero(index == cluster) for cluster in range(index.max() + 1)]
    random = np.random.default_rng(seed)
    rates = np.empty(draws)
    for draw in range(draws):
        drawn = np.concatenate([members[cluster] for cluster in random.integers(len(members), size=len(members))])
        rates[draw] = _rate_at_equal_length(credits[drawn], lean[drawn])
    low, high = np.quantile(rates, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Rate(value, len(credits), min(float(low), value), max(float(high), value))


def _rate_at_equal_length(credits: Values, lean: Values) -> float:
    """Returns σ(θ) of the regression by Newton's method; credits and lean are (n,)."""
    features = np.stack([np.ones_like(lean), lean], axis=1)  # (n, 2)
    coefficients = np.zeros(2)
    for _ in range(30):
        chance = 1 / (1 + np.exp(-features @ coefficients))
        curvature = features.T @ (features * (chance * (1 - chance))[:, None]) + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, features.T @ (credits - chance))
        coefficients = np.clip(coefficients + np.clip(step, -2, 2), -_FURTHEST, _FURTHEST)
        if np.abs(step).max() < 1e-10:
            break
    return float(1 / (1 + np.exp(-coefficients[0])))
