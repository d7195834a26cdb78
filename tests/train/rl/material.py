"""What the tests of reinforcement learning share: quick settings, prompts, and a training with a rule for reward."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from spavl.config import LoraSettings
from spavl.rl_config import CriticConfig, FixedKlConfig, LocalConfig, RlConfig, RuleRewardConfig
from spavl.train.rl.prompts import Prompt
from spavl.train.rl.rewards import RuleReward
from spavl.train.rl.rollouts import Rollout, Score
from spavl.train.rl.sources import Sources
from spavl.train.rl.station import Asked, RlResult, train_rl

PROMPTS = [Prompt(f"img-{number % 3}", f"placeholder question {number}", number % 2 == 0) for number in range(6)]
Picture = Callable[[str], Path]


def rl_settings(**changes: Any) -> RlConfig:
    """Returns quick settings in float32: PPO, two rounds of two prompts with three answers each."""
    base: dict[str, Any] = {
        "method": "ppo",
        "model": "tiny",
        "lora": LoraSettings(rank=4, alpha=8),
        "reward": (RuleRewardConfig(kind="rule", name="even"),),
        "rollouts": LocalConfig(batch_size=16),
        "kl": FixedKlConfig(weight=0.05),
        "critic": CriticConfig(value_weight=0.1),
        "rounds": 2,
        "epochs": 100,
        "prompts_per_round": 2,
        "answers_per_prompt": 3,
        "max_tokens": 6,
        "inner_epochs": 2,
        "minibatch_size": 3,
        "temperature": 3.0,
        "learning_rate": 5e-3,
        "tokens_per_forward": 500,
        "no_end_rounds": 100,
        "dtype": "float32",
    }
    return RlConfig(**{**base, **changes})


def even_share(rollout: Rollout) -> Score:
    """Returns the share of an answer's tokens that have an even id."""
    return sum(token % 2 == 0 for token in rollout.tokens) / len(rollout.tokens)


def learn(
    tiny: Path,
    picture: Picture,
    output: Path,
    rule: Callable[[Rollout], Score] = even_share,
    prompts: Sequence[Prompt] = PROMPTS,
    **changes: Any,
) -> RlResult:
    """Trains the tiny model under `output`, with seed 3."""
    config = rl_settings(**{"cache": output / "cache", **changes})
    return train_rl(config, Asked(prompts, picture), Sources(rules={"even": RuleReward(rule)}), tiny, output, 3)
