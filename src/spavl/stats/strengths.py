"""How strong each of many rivals is, from contests of two at a time (Bradley and Terry 1952).

    P(i beats j) = p_i / (p_i + p_j)          strength_i = log p_i, with mean 0 over all rivals

The maximum is found by Hunter's iteration (2004, "MM algorithms for generalized Bradley-Terry models", equation 3). A
rival that always wins has no finite strength, so each is given one contest that nobody wins against an imagined rival
of average strength; with many contests that changes little, with few it keeps the figure modest.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from spavl.stats.bootstrap import Clusters, Resampling
from spavl.stats.rates import NotMeasured, check_confidence

_STEPS, _PRECISION = 10_000, 1e-10


class Match(NamedTuple):
    """One contest of two rivals."""

    first: str
    second: str
    credit: float
    """1 if the first won, 0 if the second did, 0.5 for a tie or a verdict that changed with the order."""


class Strength(NamedTuple):
    """A rival's strength in log-odds, with its interval."""

    value: float
    """A rival with one more wins e times as often as it loses."""
    matches: int
    low: float
    high: float


def bradley_terry(
    matches: Sequence[Match],
    clusters: Clusters | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    draws: int = 200,
) -> dict[str, Strength]:
    """Returns rival -> strength, the strongest first.

    Args:
        matches: Contests; a tie is half a win for each.
        clusters: The picture of each contest; whole clusters are drawn for the intervals. Left out, each stands alone.
        confidence: Level of the percentile intervals.
        seed: Seed of the draws.
        draws: Bootstrap draws.

    Raises:
        NotMeasured: There are no contests.
        ValueError: A rival meets itself, a credit is outside [0, 1], or matches and clusters differ in number.
    """
    alone = range(len(matches)) if clusters is None else clusters
    _check(matches, alone)
    check_confidence(confidence)
    names = sorted({name for match in matches for name in match[:2]})
    place = {name: index for index, name in enumerate(names)}
    value = _fit(_wins(matches, place))
    drawn = _draw(matches, alone, place, Resampling(confidence, seed, draws))  # (D, R)
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=0)
    count = {name: sum(name in match[:2] for match in matches) for name in names}
    found = {
        name: Strength(
            float(value[index]),
            count[name],
            min(float(low[index]), float(value[index])),
            max(float(high[index]), float(value[index])),
        )
        for name, index in place.items()
    }
    return dict(sorted(found.items(), key=lambda item: (-item[1].value, item[0])))


def _wins(matches: Sequence[Match], place: Mapping[str, int]) -> npt.NDArray[np.float64]:
    """Returns (R, R): how often the row beat the column."""
    wins = np.zeros((len(place), len(place)))
    for first, second, credit in matches:
        wins[place[first], place[second]] += credit
        wins[place[second], place[first]] += 1 - credit
    return wins


def _fit(wins: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Returns (R,) log p: p_i <- W_i / (Σ_j n_ij / (p_i + p_j) + 1 / (p_i + 1)), the last term the imagined rival's."""
    met = wins + wins.T
    won = wins.sum(axis=1) + 0.5
    p = np.ones(len(wins))
    for _ in range(_STEPS):
        new = won / ((met / (p[:, None] + p[None])).sum(axis=1) + 1 / (p + 1))
        new /= np.exp(np.log(new).mean())
        if np.abs(np.log(new / p)).max() < _PRECISION:
            break
        p = new
    strengths: npt.NDArray[np.float64] = np.log(new)
    return strengths


def _draw(
    matches: Sequence[Match], clusters: Clusters, place: Mapping[str, int], resampling: Resampling
) -> npt.NDArray[np.float64]:
    """Returns (D, R): the strengths of each draw of whole clusters."""
    _, index = np.unique(np.asarray(clusters), return_inverse=True)
    members: list[list[Match]] = [[] for _ in range(int(index.max()) + 1)]
    for match, cluster in zip(matches, index, strict=True):
        members[cluster].append(match)
    wins = np.stack([_wins(some, place) for some in members])  # (K, R, R)
    random = np.random.default_rng(resampling.seed)
    drawn = random.integers(len(wins), size=(resampling.draws, len(wins)))
    return np.stack([_fit(wins[one].sum(axis=0)) for one in drawn])


def _check(matches: Sequence[Match], clusters: Clusters) -> None:
    if not matches:
        raise NotMeasured("strengths need at least one contest")
    if len(matches) != len(clusters):
        raise ValueError(f"{len(matches)} contests, but clusters of {len(clusters)}")
    for match in matches:
        if match.first == match.second:
            raise ValueError(f"{match.first} meets itself")
        if not 0 <= match.credit <= 1:
            raise ValueError(f"a credit is {match.credit}, outside 0 to 1")
