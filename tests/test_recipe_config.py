"""A training recipe's file: told apart by `data`, strict, one line for a mistake."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from spavl.config import load_config
from spavl.config_file import read_body, validate_body
from spavl.errors import UserError
from spavl.recipe_config import RecipeConfig
from spavl.rl_config import RlConfig

MINIMAL: dict[str, Any] = {
    "run": "runs/recipe",
    "model": {"kind": "hf", "path": "models/tiny-vlm"},
    "data": {"path": "data/pairs"},
}


def load(folder: Path, *overrides: str, **changes: object) -> RecipeConfig:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(MINIMAL | changes), encoding="utf-8")
    return validate_body(RecipeConfig, read_body(path, overrides), path)


def test_a_minimal_recipe_gets_every_default_and_reads_back_as_itself(tmp_path: Path) -> None:
    recipe = load(tmp_path)
    assert (recipe.seed, recipe.data.split, recipe.train.beta) == (0, "train", 0.1)
    assert recipe.settings.model == "tiny-vlm"
    assert RecipeConfig.model_validate(recipe.model_dump(mode="json")) == recipe


def test_overrides_reach_every_part(tmp_path: Path) -> None:
    recipe = load(tmp_path, "train.lora=null", "data.limit=3", "model.dtype=float32")
    assert (recipe.settings.lora, recipe.data.limit, recipe.model.kind) == (None, 3, "hf")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.model=mini", ["`train.model`", "not a known key"]),
        ("data.splits=train", ["`data.splits`", "not a known key"]),
        ("data.split=../train", ["`data.split`", "../train"]),
        ("model.kind=openai", ["`model.kind`", "'openai'", "'embedded', 'hf'"]),
        ("questions={writer: mini}", ["`questions`", "not a known key"]),
        ("train.beta=-1", ["`train.beta`", "-1"]),
        ("data.limit=0", ["`data.limit`", "0"]),
        ("data={}", ["`data.path` is missing"]),
        ("train.method=sft", ["`train.method`", "'sft'", "'dpo', 'reward', 'ppo'"]),
        ("train={method: reward, beta: 0.1}", ["`train.beta`", "not a known key"]),
        (
            "train={method: ppo, cost: {source: {kind: judge}}}",
            ["`train.cost`", "source.weight: 1;", "source.weight=-1"],
        ),
        ("train={method: ppo, cost: {source: {kind: judge, weight: 0}}}", ["`train.cost`", "source.weight: 0;"]),
        (
            "train={method: ppo, cost: {source: {kind: rule, name: a}, start: 50, most: 20}}",
            ["`train.cost`", "start: 50 is above most: 20", "lower start"],
        ),
        (
            "train={method: ppo, cost: {source: {kind: rule, name: a}, start: 0.01}}",
            ["`train.cost`", "start: 0.01 is below least: 0.05", "lower least"],
        ),
        (
            "train={method: rloo, answers_per_prompt: 6, kl: {kind: adaptive, horizon: 47}}",
            ["kl.horizon: 47", "48 answers of a round"],
        ),
        (
            "train={method: ppo, reward: [{kind: judge, judge: {kind: rubric, model: j}}]}",
            ["train.reward.0.judge.model: there is no model 'j'", "`models` has none"],
        ),
        (
            "train={method: ppo, cost: {source: {kind: judge, judge: {kind: llama_guard_4, model: g}, weight: -1}}}",
            ["train.cost.source.judge.model: there is no model 'g'"],
        ),
        ("train={method: reward, held_out_fraction: 1}", ["`train.held_out_fraction`", "1"]),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, override: str, words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path, override)
    assert all(word in str(caught.value) for word in words) and "\n" not in str(caught.value)


def test_a_judge_below_0_is_a_cost_and_a_price_may_start_at_its_most(tmp_path: Path) -> None:
    given = "{source: {kind: judge, weight: -1}, start: 20, most: 20}"
    settings = load(tmp_path, f"train={{method: ppo, cost: {given}}}").settings
    assert isinstance(settings, RlConfig) and settings.cost is not None
    assert (settings.cost.source.weight, settings.cost.start) == (-1, 20)


def test_what_wants_a_run_says_who_takes_a_recipe(tmp_path: Path) -> None:
    load(tmp_path)
    with pytest.raises(UserError, match="`spavl train` and `spavl check` take such a file"):
        load_config(tmp_path / "recipe.yaml")
