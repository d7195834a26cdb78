"""Every way of training by a recipe: a reward model, and the model that is aligned by it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from benchmarks.judge_marks import with_mark
from safetensors.torch import load_file, save_file
from tests.dataset.preference_rows import spa_vl_row, write_rows
from tests.pipeline.planted_server import Asked, PlantedServer, Told

from spavl.cli.options import training_lines
from spavl.cli.plan import plan_lines
from spavl.config import RewardModelConfig, RlConfig, TrainConfig
from spavl.config_file import read_body, validate_body
from spavl.errors import UserError
from spavl.pipeline.plan import plannable
from spavl.pipeline.recipe import plan_recipe, train_recipe
from spavl.recipe_config import RecipeConfig

PAPERS = Path(__file__).parents[2] / "configs" / "train" / "spa_vl_reward_llava15_7b.yaml"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine rows about three pictures, without safety labels."""
    return write_rows(tmp_path_factory.mktemp("data"), [spa_vl_row(number) for number in range(9)])


def recipe(folder: Path, model: Path, data: Path, **train: Any) -> RecipeConfig:
    body = {
        "run": folder / "run",
        "model": {"kind": "hf", "path": str(model)},
        "data": {"path": str(data)},
        "train": {"dtype": "float32", "cache": folder / "cache", "lora": {"rank": 2, "alpha": 4}} | train,
    }
    return RecipeConfig.model_validate(body)


@pytest.fixture(scope="module")
def rewarding(tmp_path_factory: pytest.TempPathFactory, tiny_vlm: Path, data: Path) -> RecipeConfig:
    folder = tmp_path_factory.mktemp("reward")
    return recipe(folder, tiny_vlm, data, method="reward", held_out_fraction=0.4, batch_size=3, learning_rate=1e-2)


def test_the_method_decides_what_settings_there_are(tmp_path: Path) -> None:
    kinds = {"dpo": TrainConfig, "reward": RewardModelConfig, "ppo": RlConfig, "grpo": RlConfig}
    for method, kind in kinds.items():
        more = {"answers_per_prompt": 2} if method == "grpo" else {}
        settings = recipe(tmp_path, tmp_path, tmp_path, method=method, **more).settings
        assert type(settings) is kind and settings.method == method
    assert type(recipe(tmp_path, tmp_path, tmp_path).settings) is TrainConfig


def test_a_recipe_makes_a_reward_model_and_says_what_it_is_worth(rewarding: RecipeConfig) -> None:
    """.4 of 3 pictures is one, and each has 3 rows: 6 pairs are learnt from and 3 measured."""
    manifests = train_recipe(rewarding)
    facts = manifests["train"].facts
    assert facts["pairs"] == 6 and facts["held_out"]["pairs"] == 3 and facts["held_out"]["pictures"] == 1
    assert (rewarding.run / "train" / "model" / "scalar_heads.safetensors").is_file()
    steps = (rewarding.run / "train" / "metrics.jsonl").read_text().splitlines()
    assert len(steps) == 2 and json.loads(steps[0])["terms"].keys() == {"reward"}
    pairs, worth = training_lines(facts)
    assert "6 pairs trained on, 0 dropped" in pairs
    assert "of 3 held-out pairs about 1 pictures" in worth
    assert training_lines(facts | {"held_out": None})[1].endswith("not measured: nothing was held out")
    assert train_recipe(rewarding)["train"].facts == facts


def test_the_plan_of_a_reward_model_has_a_head_and_no_reference(rewarding: RecipeConfig) -> None:
    """H = 32: one weight tensor of 32; the adapters' work, but neither a vocabulary nor a reference."""
    plan = plan_recipe(rewarding)
    head = next(part for part in plan.parts if part.name == "head")
    assert (head.tensors, head.trained, head.parameters) == (1, 32, 32)
    aligned = plan_recipe(recipe(rewarding.run.parent, Path(rewarding.model.path), Path(rewarding.data.path)))
    assert plan.flops_per_pair < aligned.flops_per_pair
    lines = "\n".join(plan_lines(plan, plannable(rewarding.settings)))
    assert "head       32 in 1 tensors, of 32 parameters" in lines
    assert "no loss reads it" in lines and "frozen pictures once for all epochs" in lines
    assert "2 = 1 x ceil(6 pairs / 3)" in lines


def test_a_model_is_aligned_by_the_reward_model(rewarding: RecipeConfig, tmp_path: Path) -> None:
    train_recipe(rewarding)
    reward = [{"kind": "model", "path": rewarding.run / "train"}]
    model, data = Path(rewarding.model.path), Path(rewarding.data.path)
    settings = {"method": "ppo", "reward": reward, "rounds": 2, "prompts_per_round": 2, "max_tokens": 4}
    facts = train_recipe(recipe(tmp_path, model, data, **settings, no_end_rounds=9))["train"].facts
    assert (facts["rounds"], facts["prompts"]) == (2, 9)
    rounds = [json.loads(line) for line in (tmp_path / "run" / "train" / "metrics.jsonl").read_text().splitlines()]
    assert [line["scores"].keys() for line in rounds] == [{"0_reward"}] * 2
    assert (tmp_path / "run" / "train" / "model" / "model.safetensors").is_file()
    assert "2 rounds on 9 prompts, 0 dropped; alarms: " in training_lines(facts)[0]


def test_prompts_that_were_left_out_are_said(rewarding: RecipeConfig, tmp_path: Path) -> None:
    """One of three questions is long; it alone leaves no room for four tokens within the others' length and four."""
    train_recipe(rewarding)
    rows = [spa_vl_row(number) for number in range(3)]
    rows[1]["question"] = "placeholder question " + "x" * 50
    data = write_rows(tmp_path / "data", rows)
    reward = [{"kind": "model", "path": rewarding.run / "train"}]
    settings = {"method": "grpo", "reward": reward, "rounds": 1, "prompts_per_round": 1, "answers_per_prompt": 2}
    settings |= {"max_tokens": 4, "too_long": "drop", "max_length": 90, "no_end_rounds": 9}
    facts = train_recipe(recipe(tmp_path, Path(rewarding.model.path), data, **settings))["train"].facts
    assert facts["prompts"] == 2 and facts["dropped"] == {"too_long": 1}
    assert "1 rounds on 2 prompts, 1 dropped (too_long 1); alarms: " in training_lines(facts)[0]


def test_another_reward_model_at_the_same_path_is_another_training(rewarding: RecipeConfig, tmp_path: Path) -> None:
    train_recipe(rewarding)
    judge = Path(shutil.copytree(rewarding.run / "train", tmp_path / "judge"))
    settings = {"method": "grpo", "reward": [{"kind": "model", "path": judge}], "rounds": 1, "prompts_per_round": 1}
    settings |= {"max_tokens": 4, "answers_per_prompt": 2, "no_end_rounds": 9}
    aligning = recipe(tmp_path, Path(rewarding.model.path), Path(rewarding.data.path), **settings)
    made = train_recipe(aligning)["train"]
    assert train_recipe(aligning)["train"] == made
    heads = load_file(judge / "model" / "scalar_heads.safetensors")
    save_file({name: -head for name, head in heads.items()}, judge / "model" / "scalar_heads.safetensors")
    with pytest.raises(UserError, match="--restart-from train"):
        train_recipe(aligning)
    assert train_recipe(aligning, restart_from="train")["train"].facts["rounds"] == 1
    shutil.rmtree(judge)
    with pytest.raises(UserError, match=r"^train\.reward\.0\.path: .* is no reward model"):
        train_recipe(aligning)


def by_number(asked: Asked) -> Told:
    """Says that what answers a question of an odd number is unsafe."""
    verdict = "UNSAFE" if asked.number % 2 else "SAFE"
    return Told(with_mark(asked.text, f"Placeholder reason.\n[[{verdict}]] [[ANSWERED]]"))


def test_a_judge_behind_a_model_gives_rewards_sees_the_picture_and_is_paid_once(
    server: PlantedServer, tiny_vlm: Path, data: Path, tmp_path: Path
) -> None:
    """Nine questions, five of them even: mean (5 - 4) / 9; removed and made again, it costs no call.

    Another model behind the judge's name is another training.
    """
    server.rule = by_number
    reward = [{"kind": "judge", "judge": {"kind": "rubric", "model": "j"}}]
    settings: dict[str, Any] = {
        "reward": reward,
        "rounds": 1,
        "prompts_per_round": 9,
        "max_tokens": 4,
        "no_end_rounds": 9,
    }
    body = recipe(tmp_path, tiny_vlm, data).model_dump(exclude={"train"})
    body["train"] = {"method": "ppo", **settings, "lora": {"rank": 2, "alpha": 4}, "cache": tmp_path / "cache"}
    served = {"kind": "openai", "base_url": server.url, "model": "judge"}
    body |= {"models": {"j": served}, "calls": tmp_path / "calls.sqlite"}
    train_recipe(RecipeConfig.model_validate(body))
    line = json.loads((tmp_path / "run" / "train" / "metrics.jsonl").read_text())
    assert line["scores"]["0_rubric"] == pytest.approx(1 / 9) and line["unscored"]["0_rubric"] == 0
    assert len(server.asked) == 9 and all(asked.shown for asked in server.asked)
    shutil.rmtree(tmp_path / "run" / "train")
    train_recipe(RecipeConfig.model_validate(body))
    assert len(server.asked) == 9
    with pytest.raises(UserError, match="--restart-from train"):
        train_recipe(RecipeConfig.model_validate(body | {"models": {"j": served | {"model": "other"}}}))


def test_what_cannot_be_planned_or_has_no_labels_is_one_line(
    rewarding: RecipeConfig, tmp_path: Path, tiny_vlm: Path, data: Path
) -> None:
    with pytest.raises(UserError, match=r"--plan: train\.method is ppo.*train\.rounds=2"):
        plan_recipe(recipe(tmp_path, tiny_vlm, data, method="ppo"))
    with pytest.raises(UserError, match=r"train\.cost: .* none of 9 pairs"):
        train_recipe(recipe(tmp_path, tiny_vlm, data, method="reward", cost={}, held_out_fraction=0))


def test_the_papers_reward_model_is_a_recipe_that_runs_on_a_tiny_llava(
    tiny_vlm: Path, data: Path, tmp_path: Path
) -> None:
    """SPA-VL's script: 3e-5, batch 32 = 8 x 4, one epoch, all weights and the projector. Nine rows are one step."""
    overrides = [f"run={tmp_path / 'run'}", f"model.path={tiny_vlm}", f"data.path={data}", "train.device=cpu"]
    body = read_body(PAPERS, [*overrides, f"train.cache={tmp_path / 'cache'}", "data.meta_files=null"])
    papers = validate_body(RecipeConfig, body, PAPERS)
    settings = papers.settings
    assert isinstance(settings, RewardModelConfig)
    assert (settings.learning_rate, settings.batch_size, settings.epochs) == (3e-5, 32, 1)
    assert settings.lora is None and settings.projector and settings.vision_blocks == 0 and settings.centring == 0
    facts = train_recipe(papers)["train"].facts
    assert facts["pairs"] == 9 and facts["held_out"] is None
