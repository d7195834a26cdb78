"""What reinforcement learning keeps between rounds beside weights: prices, the scale of rewards, and how answers end.

A checkpoint holds it as plain numbers, so that a run that goes on is the run that was never stopped.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from spavl.errors import RunError
from spavl.rl_config import RlSettings
from spavl.train.controllers import AdaptiveKl, CostMultiplier, FixedKl, RunningScale


class Steering(NamedTuple):
    """The state of all controllers."""

    kl: FixedKl | AdaptiveKl
    scale: RunningScale = RunningScale()
    offset: float | None = None
    """What is taken from every reward; None before the first round."""
    cost: CostMultiplier | None = None
    endless: int = 0
    """Rounds in a row of which no answer ended."""

    @classmethod
    def start(cls, config: RlSettings) -> "Steering":
        """Returns the state before the first round."""
        kl = config.kl
        price = FixedKl(kl.weight) if kl.kind == "fixed" else AdaptiveKl(kl.weight, kl.target, kl.horizon)
        cost = config.cost
        harm = None
        if cost is not None:
            harm = CostMultiplier(math.log(cost.start), cost.rate, cost.threshold, cost.most, cost.least)
        return cls(price, cost=harm)

    def seen(self, config: RlSettings, raw: Sequence[float]) -> "Steering":
        """Returns the state once a round's raw rewards are known."""
        if not raw:
            return self
        offset = self.offset
        if offset is None:
            offset = math.fsum(raw) / len(raw) if config.centre_rewards else 0.0
        return self._replace(scale=self.scale.after(list(raw)) if config.scale_rewards else self.scale, offset=offset)

    def worth(self, config: RlSettings, raw: float, ended: bool) -> float:
        """Returns a raw reward in the unit of training, with the price of an answer that did not end."""
        return self._scaled(config, raw) - (0.0 if ended else config.no_end_penalty)

    def limited(self, config: RlSettings, raw: Sequence[float]) -> float | None:
        """Returns which share of raw rewards is cut to the limit and no longer told apart; None of none."""
        cut = [abs(self._scaled(config, one)) >= config.reward_limit for one in raw]
        return math.fsum(cut) / len(cut) if cut else None

    def _scaled(self, config: RlSettings, raw: float) -> float:
        return self.scale.scaled(raw - (self.offset or 0.0), config.reward_limit)

    def ended(self, config: RlSettings, number_ended: int) -> "Steering":
        """Returns the state once it is known how many of a round's answers ended.

        Raises:
            RunError: For too many rounds in a row none did.
        """
        endless = 0 if number_ended else self.endless + 1
        if endless >= config.no_end_rounds:
            raise RunError(
                f"No answer of the last {endless} rounds ended within max_tokens={config.max_tokens}, so nothing is "
                "learnt about ending. What was saved is kept: raise no_end_rounds to go on with it, or start again "
                "with --restart-from train and a greater max_tokens or from a model that ends its answers."
            )
        return self._replace(endless=endless)

    def after(self, divergence: float, answers: int, mean_cost: float | None) -> "Steering":
        """Returns the state after a round's update.

        Args:
            divergence: Mean over answers of Σ_t log π - log π_ref.
            answers: How many.
            mean_cost: What an answer cost; None where harm has no price or nothing could be told.
        """
        cost = self.cost.after(mean_cost) if self.cost is not None and mean_cost is not None else self.cost
        return self._replace(kl=self.kl.after(divergence, answers), cost=cost)

    def numbers(self) -> dict[str, Any]:
        """Returns it as JSON can hold it, to the last bit."""
        return {name: list(part) if isinstance(part, tuple) else part for name, part in self._asdict().items()}

    def restored(self, numbers: Mapping[str, Any]) -> "Steering":
        """Returns the state that `numbers` are of, its kinds being those of this one.

        Raises:
            RunError: They belong to another training.
        """
        try:
            return Steering(
                kl=type(self.kl)(*numbers["kl"]),
                scale=RunningScale(*numbers["scale"]),
                offset=numbers["offset"],
                cost=None if self.cost is None else CostMultiplier(*numbers["cost"]),
                endless=numbers["endless"],
            )
        except (KeyError, TypeError) as error:
            raise RunError(
                f"The checkpoint's controllers belong to another training ({error!r}). Use another run name, or start "
                "again with --restart-from train."
            ) from error
