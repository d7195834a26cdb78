"""What steers reinforcement learning between steps: the price of divergence, the scale of rewards, the price of harm.

Each is a frozen value with a function to the next one, and JSON can hold it, so a checkpoint keeps it and a resumed run
goes on with the same numbers.
"""

import math
from typing import NamedTuple

ROUNDING = 2.0**-22
"""Part of a mean below which a deviation from it is rounding: two units in the last place of a float32."""


class FixedKl(NamedTuple):
    """A price of divergence that stays."""

    weight: float

    def after(self, divergence: float, answers: int) -> "FixedKl":
        """Returns itself."""
        return self


class AdaptiveKl(NamedTuple):
    """A price that rises while answers diverge more than wanted, and falls while less (Ziegler et al. 2019, 2.2).

    e = clip(KL / target - 1, -0.2, 0.2),  β ← β (1 + e min(n / horizon, 1))

    The paper has n / horizon, which makes β negative where n is over five horizons; ours stays within a fifth of β.
    """

    weight: float
    """β."""
    target: float
    """Wanted divergence from the reference, in nats an answer."""
    horizon: int
    """Answers in which the price changes by about a fifth, if the divergence stays off."""

    def after(self, divergence: float, answers: int) -> "AdaptiveKl":
        """Returns the price after a rollout.

        Args:
            divergence: Mean over its answers of Σ_t log π - log π_ref.
            answers: n.

        Raises:
            ValueError: The divergence is not finite.
        """
        if not math.isfinite(divergence):
            raise ValueError(f"divergence {divergence} is not finite")
        off = min(max(divergence / self.target - 1, -0.2), 0.2)
        return self._replace(weight=self.weight * (1 + off * min(answers / self.horizon, 1)))


class RunningScale(NamedTuple):
    """Mean and variance of every score so far (Welford, in Chan's form for whole batches)."""

    seen: int = 0
    mean: float = 0.0
    squares: float = 0.0
    """Σ (score - mean)²."""

    def after(self, scores: list[float]) -> "RunningScale":
        """Returns the figures with these scores added.

        Raises:
            ValueError: A score is not finite.
        """
        if not all(math.isfinite(score) for score in scores):
            raise ValueError("a score is not finite")
        if not scores:
            return self
        seen = self.seen + len(scores)
        mean = math.fsum(scores) / len(scores)
        squares = math.fsum((score - mean) ** 2 for score in scores)
        apart = mean - self.mean
        return RunningScale(
            seen=seen,
            mean=self.mean + apart * len(scores) / seen,
            squares=self.squares + squares + apart**2 * self.seen * len(scores) / seen,
        )

    @property
    def deviation(self) -> float:
        """Standard deviation of the scores; 1 while it cannot be told, so that dividing by it changes nothing.

        It cannot be told of one score, nor of scores that are equal but for the rounding of float32.
        """
        found = math.sqrt(self.squares / (self.seen - 1)) if self.seen > 1 else 0.0
        return found if found > ROUNDING * abs(self.mean) else 1.0

    def scaled(self, score: float, limit: float) -> float:
        """Returns a score in standard deviations, at most `limit` from 0; its mean is left, a score of 0 stays 0."""
        return min(max(score / self.deviation, -limit), limit)


class CostMultiplier(NamedTuple):
    """Safe-RLHF's price of harm: it rises while answers cost more than is let pass (Dai et al. 2023, arXiv 2310.12773).

    log λ ← log λ + η (mean cost - threshold), least <= λ <= most;  A = (A_reward - λ A_cost) / (1 + λ)
    """

    log_weight: float
    rate: float
    """η."""
    threshold: float
    """Mean cost of an answer that is let pass."""
    most: float
    least: float
    """Where λ stays however long nothing costs too much, so that it is soon felt when something does again."""

    @property
    def weight(self) -> float:
        """λ."""
        return math.exp(self.log_weight)

    def after(self, mean_cost: float) -> "CostMultiplier":
        """Returns the price after a rollout.

        Raises:
            ValueError: The cost is not finite.
        """
        if not math.isfinite(mean_cost):
            raise ValueError(f"mean cost {mean_cost} is not finite")
        moved = self.log_weight + self.rate * (mean_cost - self.threshold)
        return self._replace(log_weight=min(max(moved, math.log(self.least)), math.log(self.most)))
