"""The recipes under configs/train: their settings are the paper's, and each takes two rounds on a tiny model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.train.rl.material import PROMPTS, even_share
from tests.train.rl.test_sources import reward_model

from spavl.config_file import read_body
from spavl.rl_config import FixedKlConfig, RlConfig
from spavl.train.rl.rewards import RuleReward
from spavl.train.rl.sources import Sources
from spavl.train.rl.station import Asked, train_rl

RECIPES = sorted((Path(__file__).parents[3] / "configs" / "train").glob("*_[pr][pl]o*.yaml"))
Picture = Callable[[str], Path]


def settings_of(path: Path, **changes: Any) -> RlConfig:
    return RlConfig.model_validate({**read_body(path, ())["train"], "model": "tiny", **changes})


def test_the_papers_settings() -> None:
    """SPA-VL's scripts: KL 0.1, 5e-7 in full and 1e-6 with LoRA, γ = λ = 1, clips 0.2, value weight 0.1, 8 rollouts."""
    ours = [path for path in RECIPES if "_ppo_" in path.stem]
    assert [path.stem[-4:] for path in ours] == ["full", "lora"]
    for path in ours:
        config = settings_of(path)
        assert config.kl == FixedKlConfig(weight=0.1) and (config.discount, config.smoothing) == (1, 1)
        assert (config.clip, config.critic.clip, config.critic.value_weight) == (0.2, 0.2, 0.1)
        assert config.learning_rate == (1e-6 if config.lora else 5e-7) and config.critic.learning_rate is None
        assert (config.prompts_per_round, config.answers_per_prompt, config.inner_epochs) == (8, 1, 1)
        assert config.projector and not config.vision_blocks and not config.whiten and not config.scale_rewards
        assert not config.centre_rewards


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_takes_two_rounds_on_a_tiny_llava(path: Path, tiny: Path, picture: Picture, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"device": "cpu", "cache": tmp_path / "cache", "rounds": 2, "epochs": 9, "max_tokens": 4}
    if "_ppo_" in path.stem:
        made = reward_model(tiny, picture, tmp_path / "reward", projector=True)
        changes["reward"] = [{"kind": "model", "path": made}]
    else:  # what a random model writes is no answer, and the rules' judge cannot tell
        changes["reward"] = [{"kind": "rule", "name": "even"}]
    config = settings_of(path, **changes)
    result = train_rl(
        config, Asked(PROMPTS, picture), Sources(rules={"even": RuleReward(even_share)}), tiny, tmp_path / "out", 0
    )
    lines = [json.loads(line) for line in result.metrics.read_text().splitlines()]
    assert len(lines) == 2 and lines[0]["kl"] == 0
    assert result.trainable["language"] and not result.trainable["vision"]
    assert bool(result.trainable["projector"]) == config.projector
