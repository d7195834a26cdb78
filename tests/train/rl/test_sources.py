"""Reward models as rewards: one more adapter over the base where that is all they are, or a model of their own."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.tiny_vlm import build_tiny_vlm
from tests.train.material import make_pairs, settings
from tests.train.rl.material import PROMPTS, rl_settings

from spavl.config import LoraSettings
from spavl.errors import RunError, UserError
from spavl.models.loading import Vlm
from spavl.rl_config import CostConfig, CriticConfig, ModelRewardConfig, RlConfig
from spavl.train.families import family_of
from spavl.train.policy import open_policy
from spavl.train.reward_model import read_reward_model
from spavl.train.reward_station import RewardPairs, train_reward
from spavl.train.rl.roles import add_adapter
from spavl.train.rl.sources import Sources
from spavl.train.rl.station import Asked, RlResult, train_rl
from spavl.train_config import CostSettings, RewardModelConfig

Picture = Callable[[str], Path]
SHARED = set(RewardModelConfig.model_fields) - {"method", "lora"}


def reward_model(folder: Path, picture: Picture, output: Path, **changes: Any) -> Path:
    """Trains a tiny reward model with a cost head, and returns its folder."""
    base = settings(batch_size=5, epochs=1, cache=output / "cache").model_dump(include=SHARED)
    lora = LoraSettings(rank=2, alpha=8, targets=("q_proj", "v_proj"))
    config = RewardModelConfig(**{**base, "method": "reward", "lora": lora, "cost": CostSettings(), **changes})
    train_reward(config, RewardPairs(make_pairs(10)), picture, folder, output, 0)
    return output


@pytest.fixture(scope="module")
def judge(tiny: Path, picture: Picture, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reward_model(tiny, picture, tmp_path_factory.mktemp("judge"))


def config_of(path: Path, output: Path, **changes: Any) -> RlConfig:
    reward = ModelRewardConfig(kind="model", path=path)
    cost = CostConfig(source=ModelRewardConfig(kind="model", path=path, head="cost"))
    return rl_settings(**{"reward": (reward,), "cost": cost, "cache": output / "cache", **changes})


def learn(path: Path, tiny: Path, picture: Picture, output: Path, **changes: Any) -> RlResult:
    return train_rl(config_of(path, output, **changes), Asked(PROMPTS, picture), Sources(), tiny, output, 3)


def lines_of(result: RlResult) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.metrics.read_text().splitlines()]


def test_a_reward_model_is_one_more_adapter_and_says_what_its_merged_model_says(
    judge: Path, tiny: Path, picture: Picture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its adapter's folder the same reward model is opened as a model of its own; scores are equal."""
    alone = Path(shutil.copytree(judge, tmp_path / "alone"))
    shutil.rmtree(alone / "adapter")
    apart = learn(alone, tiny, picture, tmp_path / "apart", rounds=1)
    opened: list[Path] = []
    monkeypatch.setattr("spavl.train.rl.roles.load_vlm", lambda folder, *_: opened.append(folder))
    shared = learn(judge, tiny, picture, tmp_path / "shared", rounds=1)
    assert not opened
    one, other = ([line["scores"] for line in lines_of(result)] for result in (shared, apart))
    assert one[0].keys() == {"0_reward", "cost"}
    assert one[0] == pytest.approx(other[0], abs=1e-4)


@pytest.mark.parametrize("targets", [("q_proj",), ("up_proj",)], ids=["some of its layers", "none of its layers"])
def test_a_reward_model_with_layers_that_the_policy_has_not_stays_whole(
    targets: tuple[str, ...], judge: Path, tiny: Path, picture: Picture, tmp_path: Path
) -> None:
    """Its adapters at q_proj and v_proj do not fit over the policy's: it and the critic are models of their own."""
    alone = Path(shutil.copytree(judge, tmp_path / "alone"))
    shutil.rmtree(alone / "adapter")
    lora = LoraSettings(rank=4, alpha=8, targets=targets)
    one, other = (
        lines_of(learn(path, tiny, picture, tmp_path / name, rounds=1, lora=lora))[0]
        for name, path in (("judge", judge), ("apart", alone))
    )
    for figure in ("scores", "explained_variance"):
        assert one[figure] == other[figure]


def test_an_adapter_that_does_not_fit_is_never_cut(judge: Path, vlm: Vlm) -> None:
    config = rl_settings(lora=LoraSettings(rank=4, alpha=8, targets=("q_proj",)))
    policy, saved = open_policy(vlm, family_of(vlm.model), config, seed=0), read_reward_model(judge, "x")
    assert saved.card.lora is not None
    with pytest.raises(RunError, match=r"changes \S*v_proj, where the policy has none"):
        add_adapter(policy, "reward0", saved.card.lora, saved.adapter)


def test_the_critic_begins_as_the_reward_model(judge: Path, tiny: Path, picture: Picture, tmp_path: Path) -> None:
    """Its adapter has the reward model's rank 2 on two layers of each block, not the policy's 4 on all seven."""
    result = learn(judge, tiny, picture, tmp_path, rounds=1)
    assert result.trainable["critic"] < result.trainable["language"] / 4


def test_the_critics_head_begins_as_the_reward_models_and_has_a_rate_of_its_own(
    judge: Path, tiny: Path, picture: Picture, tmp_path: Path
) -> None:
    """At a rate of next to nothing it stays what it began as, while the policy moves at its own."""
    critic = CriticConfig(learning_rate=1e-12)
    learn(judge, tiny, picture, tmp_path, rounds=1, critic=critic, learning_rate=1e-2)
    trained = load_file(tmp_path / "checkpoints" / "step-1" / "trained.safetensors")
    began = read_reward_model(judge, "x").heads["reward"]
    assert began.abs().max() > 0.01
    torch.testing.assert_close(trained["critic.reward.weight"].flatten(), began.flatten(), atol=1e-7, rtol=0)
    assert max(float(one.abs().max()) for name, one in trained.items() if ".lora_B.default" in name) > 1e-3


def test_longer_answers_than_a_reward_model_has_learnt_from_are_said(
    tiny: Path, picture: Picture, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = reward_model(tiny, picture, tmp_path / "judge", answer_tokens=2)
    for name, max_tokens in (("as long", 2), ("longer", 3)):
        learn(path, tiny, picture, tmp_path / name, rounds=1, max_tokens=max_tokens)
    said = (
        "train.reward.0.path: the reward model has learnt from the first 2 tokens of answers, and train.max_tokens is 3"
    )
    assert [message.startswith(said) for message in caplog.messages if "has learnt" in message] == [True]


@pytest.mark.parametrize("changes", [{"lora": None}, {"method": "rloo"}, {"critic": CriticConfig(kind="shared")}])
def test_other_arrangements_learn_from_it_too(
    changes: dict[str, Any], judge: Path, tiny: Path, picture: Picture, tmp_path: Path
) -> None:
    lines = lines_of(learn(judge, tiny, picture, tmp_path, **changes))
    assert [line["steps"] for line in lines] == [4, 4] and lines[1]["kl"] != 0


def test_a_reward_model_that_reads_otherwise_is_refused(
    judge: Path, tiny: Path, picture: Picture, tmp_path: Path
) -> None:
    """The same weights with another chat template: what the policy writes would be read as something else."""
    other = Path(shutil.copytree(tiny, tmp_path / "other"))
    template = other / "chat_template.jinja"
    template.write_text(template.read_text().replace("assistant", "helper"))
    with pytest.raises(UserError, match=r"train.reward.0.path: .* another chat template"):
        learn(judge, other, picture, tmp_path / "out")


def test_a_head_that_is_not_there_is_named(tiny: Path, judge: Path, picture: Picture, tmp_path: Path) -> None:
    source = ModelRewardConfig(kind="model", path=judge, head="helpfulness")
    with pytest.raises(UserError, match=r"train.reward.0.head: .* no head 'helpfulness'; allowed: cost, reward"):
        learn(judge, tiny, picture, tmp_path, reward=(source,))


def test_a_folder_that_is_no_reward_model_is_refused(picture: Picture, tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train\.reward\.0\.path: .* is no reward model"):
        learn(build_tiny_vlm(tmp_path / "plain"), tiny, picture, tmp_path / "out")
