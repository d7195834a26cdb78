"""Opens what the settings name as rewards: judges, reward models, and functions of the program that trains."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from spavl.errors import UserError
from spavl.judges import ModelsByName, judge_fingerprint, open_safety_judge
from spavl.models.base import ImageInput
from spavl.rl_config import JudgeRewardConfig, RewardConfig, RlConfig, RuleRewardConfig
from spavl.train.rl.rewards import JudgeReward, Reward, WeightedReward, name_of
from spavl.train.rl.roles import Base, Roles, Start

NO_MODELS: Mapping[str, Any] = MappingProxyType({})


class Opening(NamedTuple):
    """The rewards of one training, opened as far as is possible before its roles are."""

    start: Start | None
    """What the critic begins as."""
    rewards: Callable[[Roles], list[WeightedReward]]
    cost: Callable[[Roles], WeightedReward | None]


class Sources(NamedTuple):
    """What rewards are made of, beside the settings."""

    models: ModelsByName = NO_MODELS
    """Name -> model, for judges that ask one."""
    show: Callable[[str], ImageInput] | None = None
    """Image id -> what a judge is shown; None where judges read text alone."""
    rules: Mapping[str, Reward] = MappingProxyType({})
    """Name -> a function, for rewards of kind `rule`."""

    def fingerprints(self, config: RlConfig) -> list[str]:
        """Returns what identifies each reward beside its settings."""
        found = []
        for one in (*config.reward, *([config.cost.source] if config.cost else [])):
            found.append(judge_fingerprint(one.judge) if isinstance(one, JudgeRewardConfig) else "")
        return found

    def open(self, base: Base, config: RlConfig) -> Opening:
        """Opens the rewards.

        Raises:
            UserError: One of them is not there, or is not of the policy's kind.
        """

        def one(source: RewardConfig, name: str, roles: Roles) -> WeightedReward:
            return WeightedReward(name, self._open(source, base, roles), source.weight)

        def rewards(roles: Roles) -> list[WeightedReward]:
            return [one(source, name_of(source, place), roles) for place, source in enumerate(config.reward)]

        def cost(roles: Roles) -> WeightedReward | None:
            return None if config.cost is None else one(config.cost.source, "cost", roles)

        return Opening(None, rewards, cost)

    def _open(self, source: RewardConfig, base: Base, roles: Roles) -> Reward:
        if isinstance(source, RuleRewardConfig):
            if source.name not in self.rules:
                raise UserError(
                    f"train.reward: there is no rule '{source.name}'. Rules are functions that a program gives to "
                    "train_rl; in a file choose kind judge or model."
                )
            return self.rules[source.name]
        if isinstance(source, JudgeRewardConfig):
            return JudgeReward(source, open_safety_judge(source.judge, self.models), self.show)
        raise NotImplementedError
