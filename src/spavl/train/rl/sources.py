"""Opens what the settings name as rewards: judges, reward models, and functions of the program that trains."""

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch

from spavl.errors import UserError
from spavl.judge_config import judges_model
from spavl.judges import ModelsByName, judge_fingerprint, judge_rubrics, open_safety_judge
from spavl.models.base import ImageInput
from spavl.models.weights import weights_digest
from spavl.rl_config import (
    JudgeRewardConfig,
    ModelRewardConfig,
    RewardConfig,
    RlConfig,
    RuleRewardConfig,
    named_sources,
)
from spavl.train.reward_model import SavedRewardModel, check_reads_alike, read_reward_model
from spavl.train.rl.reading import Body
from spavl.train.rl.rewards import COST, HeadReward, JudgeReward, Reward, WeightedReward, name_of
from spavl.train.rl.roles import Base, Roles, Start, add_adapter, frozen_body
from spavl.train.scalar_head import ScalarHead

_log = logging.getLogger(__name__)

NO_MODELS: Mapping[str, Any] = MappingProxyType({})


class Sources(NamedTuple):
    """What rewards are made of, beside the settings."""

    models: ModelsByName = NO_MODELS
    """Name -> model, for judges that ask one."""
    show: Callable[[str], ImageInput] | None = None
    """Image id -> what a judge is shown; None where judges read text alone."""
    rules: Mapping[str, Reward] = MappingProxyType({})
    """Name -> a function, for rewards of kind `rule`."""

    def fingerprints(self, config: RlConfig) -> list[str]:
        """Returns what identifies each reward beside its settings: of a judge its rules, and the model it asks.

        Raises:
            UserError: There is no such reward model, or no such model for a judge.
        """
        return [_fingerprint(source, field, self.models) for field, source in named_sources(config).items()]

    def open(self, base: Base, config: RlConfig, end_id: int) -> "Opened":
        """Opens the rewards as far as is possible before there is a policy.

        Args:
            base: The model everything starts from.
            config: Settings.
            end_id: What an answer ends in.

        Raises:
            UserError: One of them is not there, or is not of the policy's kind.
        """
        saved: dict[Path, SavedRewardModel] = {}
        for field, source in named_sources(config).items():
            if isinstance(source, ModelRewardConfig) and source.path not in saved:
                saved[source.path] = read_reward_model(source.path, f"{field}.path")
                check_reads_alike(saved[source.path], base.vlm, end_id, f"{field}.path")
                _warn_of_beginnings(saved[source.path], config, f"{field}.path")
            if isinstance(source, ModelRewardConfig) and source.head not in saved[source.path].heads:
                heads = ", ".join(sorted(saved[source.path].heads))
                raise UserError(f"{field}.head: {source.path} has no head '{source.head}'; allowed: {heads}.")
            if isinstance(source, RuleRewardConfig) and source.name not in self.rules:
                raise UserError(
                    f"{field}.name: there is no rule '{source.name}'. Rules are functions that a program gives to "
                    "train_rl; in a file choose kind judge or model."
                )
        return Opened(self, base, config, saved, weights_digest(base.folder))


def _warn_of_beginnings(saved: SavedRewardModel, config: RlConfig, field: str) -> None:
    """Warns where answers may be longer than those that a reward model has learnt from."""
    learnt = saved.card.answer_tokens
    if learnt is not None and learnt < config.max_tokens:
        _log.warning(
            "%s: the reward model has learnt from the first %d tokens of answers, and train.max_tokens is %d; of "
            "longer answers its scores say little.",
            field,
            learnt,
            config.max_tokens,
        )


class Opened(NamedTuple):
    """The rewards of one training before there is a policy."""

    sources: Sources
    base: Base
    config: RlConfig
    saved: Mapping[Path, SavedRewardModel]
    base_sha256: str

    def start(self) -> Start | None:
        """Returns what the critic begins as: the first reward model, or None where there is none."""
        for source in self.config.reward:
            if isinstance(source, ModelRewardConfig):
                saved = self.saved[source.path]
                adapter = saved.adapter if self._shares(saved) else None
                return Start(saved.model, saved.heads[source.head], saved.card.lora, adapter)
        return None

    def rewards(self, roles: Roles) -> tuple[list[WeightedReward], WeightedReward | None]:
        """Returns the rewards that are added up, and the price of harm where there is one.

        Raises:
            UserError: A judge or a model cannot be opened.
        """
        bodies = {path: self._body(saved, roles, place) for place, (path, saved) in enumerate(self.saved.items())}
        found = [
            WeightedReward(name_of(source, place), self._open(source, bodies), source.weight)
            for place, source in enumerate(self.config.reward)
        ]
        cost = self.config.cost
        if cost is None:
            return found, None
        return found, WeightedReward(COST, self._open(cost.source, bodies), cost.source.weight)

    def _open(self, source: RewardConfig, bodies: Mapping[Path, Body]) -> Reward:
        match source:
            case RuleRewardConfig():
                return self.sources.rules[source.name]
            case JudgeRewardConfig():
                judge = open_safety_judge(source.judge, self.sources.models)
                return JudgeReward(source, judge, self.sources.show)
        weights = self.saved[source.path].heads[source.head]
        head = ScalarHead(len(weights)).to(self.base.vlm.model.device)
        with torch.no_grad():
            head.weight.copy_(weights)
        return HeadReward(bodies[source.path], head)

    def _body(self, saved: SavedRewardModel, roles: Roles, place: int) -> Body:
        """Returns a reward model's weights: one more adapter over the policy's base, or a model of its own."""
        lora, beside, adapter = saved.card.lora, roles.beside, saved.adapter
        if beside is None or lora is None or adapter is None or not self._shares(saved) or not beside.holds(adapter):
            return frozen_body(self.base, saved.model, self.config)
        name = f"reward{place}"
        for parameter in add_adapter(roles.policy, name, lora, adapter).values():
            parameter.requires_grad_(False)
        return beside.body(name)

    def _shares(self, saved: SavedRewardModel) -> bool:
        return saved.adapter is not None and saved.card.base_sha256 == self.base_sha256


def _fingerprint(source: RewardConfig, field: str, models: ModelsByName) -> str:
    match source:
        case JudgeRewardConfig():
            asked = judges_model(source.judge)
            model = [] if asked is None else [json.dumps(models[asked].fingerprint, sort_keys=True)]
            return " ".join([judge_fingerprint(source.judge), *judge_rubrics(source.judge).values(), *model])
        case ModelRewardConfig():
            saved = read_reward_model(source.path, f"{field}.path")
            return f"{weights_digest(saved.model)} {source.head}"
    return source.name
