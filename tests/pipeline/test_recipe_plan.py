"""What a recipe's plan knows before anything is read, and what is said of rows and models that cannot be trained."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.dataset.preference_rows import spa_vl_row, write_rows

from spavl.cli.road import train
from spavl.errors import UserError
from spavl.pipeline.recipe import plan_recipe, train_recipe
from spavl.recipe_config import RecipeConfig

LONG = "Yes: placeholder. " * 20


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Nine rows about three pictures; the sixth has a long answer."""
    rows = [spa_vl_row(number) for number in range(9)]
    rows[5]["rejected"] = LONG
    rows[6]["question"] = "placeholder harmful <|im_end|> question 6"
    return write_rows(tmp_path / "data", rows)


def body_of(tmp_path: Path, model: Path, data: Path | str, **train: Any) -> dict[str, Any]:
    return {
        "run": str(tmp_path / "run"),
        "model": {"kind": "hf", "path": str(model)},
        "data": {"path": str(data)},
        "train": {"batch_size": 2, "dtype": "float32", "cache": str(tmp_path / "cache")} | train,
    }


def recipe(tmp_path: Path, model: Path, data: Path | str, **train: Any) -> RecipeConfig:
    return RecipeConfig.model_validate(body_of(tmp_path, model, data, **train))


def test_a_plan_takes_rows_of_the_data_and_leaves_nothing_behind(tiny_vlm: Path, data: Path, tmp_path: Path) -> None:
    """Nine rows in batches of 2 are 5 steps an epoch."""
    before = sorted(tmp_path.rglob("*"))
    plan = plan_recipe(recipe(tmp_path, tiny_vlm, data, epochs=2))
    assert (plan.pairs, plan.measured_pairs, plan.steps, plan.pairs_exact) == (9, 9, 10, False)
    assert plan.lengths == "from 9 of 9 rows, of which 9 can be trained on"
    names = ["copies", "pictures", "reference", "checkpoints", "adapter", "model"]
    assert [line.name for line in plan.disk] == names
    assert sorted(tmp_path.rglob("*")) == before


def test_rows_that_cannot_be_used_are_reckoned_with(tiny_vlm: Path, tmp_path: Path) -> None:
    """Of 80 rows in one file the first 64 are looked at, and every second of them is empty."""
    rows = [spa_vl_row(number, **({"chosen": ""} if number % 2 else {})) for number in range(80)]
    plan = plan_recipe(recipe(tmp_path, tiny_vlm, write_rows(tmp_path / "data", rows)))
    assert (plan.pairs, plan.measured_pairs) == (40, 32)
    assert plan.lengths == "from 64 of 80 rows, of which 32 can be trained on"
    none = write_rows(tmp_path / "none", [spa_vl_row(0, chosen="")])
    with pytest.raises(UserError, match="none of 1 rows that were looked at"):
        plan_recipe(recipe(tmp_path, tiny_vlm, none))


def test_of_data_that_is_not_here_the_plan_says_what_is_unknown(
    tiny_vlm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(body_of(tmp_path, tiny_vlm, "nobody/nothing")))
    train(path, plan=True)
    text = capsys.readouterr().out
    assert "assumed: data.path: nobody/nothing is no folder here" in text
    assert "steps        unknown until there are pairs" in text and "unknown until there are pairs" in text


def test_the_plan_of_several_processes_is_one_devices(
    tiny_vlm: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(body_of(tmp_path, tiny_vlm, data, parallel="zero3", lora=None)))
    train(path, plan=True, processes=4)
    text = capsys.readouterr().out
    assert "on each of 4 devices (zero3)" in text and "AdamW: 2 x 4 B x trained / 4 processes" in text
    assert "about 5 = 1 x ceil(about 9 pairs / 2)" in text and "disk" in text


def test_rows_that_are_too_long_are_named_or_left_out_and_counted(
    tiny_vlm: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match=r"1 of 9 pairs do not fit train\.max_length=200;.* train row 5 \(in train-0"):
        train_recipe(recipe(tmp_path, tiny_vlm, data, max_length=200))
    other = tmp_path / "other"
    manifests = train_recipe(recipe(other, tiny_vlm, data, max_length=200, too_long="drop"))
    facts = manifests["train"].facts
    assert (facts["pairs"], facts["dropped"], facts["questions_with_broken_marks"]) == (8, {"too_long": 1}, 1)
    assert train_recipe(recipe(other, tiny_vlm, data, max_length=200, too_long="drop")) == manifests
    lines = (other / "run" / "train" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 4
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(body_of(other, tiny_vlm, data, max_length=200, too_long="drop")))
    train(path)
    said = (
        "8 pairs trained on, 1 dropped (too_long 1), 0 benign ones left out; "
        "whether the chosen answers fall not measured; 1 questions with broken marks"
    )
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "paligemma"}, "a model of type 'paligemma' cannot be trained; allowed: llava"),
        ({"vision_config": None}, "cannot be (read|opened) as a vision-language model"),
        ({"vision_config": "clip"}, "cannot be (read|opened) as a vision-language model"),
        ({"text_config": {"num_attention_heads": 0}}, "cannot be (read|opened) as a vision-language model"),
        ({"text_config": {"hidden_size": "wide"}}, "cannot be (read|opened) as a vision-language model"),
        ({"text_config": {"model_type": "nothing"}}, "cannot be (read|opened) as a vision-language model"),
        (["no", "mapping"], "names no `model_type`"),
        (None, "config.json cannot be read"),
    ],
)
def test_a_damaged_or_unknown_model_is_one_line_for_plan_and_training(
    tiny_vlm: Path, data: Path, tmp_path: Path, change: Any, words: str
) -> None:
    folder = Path(shutil.copytree(tiny_vlm, tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text())
    if isinstance(change, dict):
        for key, value in change.items():
            config[key] = config[key] | value if isinstance(value, dict) else value
    text = json.dumps(change if isinstance(change, list) else config)
    (folder / "config.json").write_text(text if change is not None else text[:40])
    for use in (plan_recipe, train_recipe):
        with pytest.raises(UserError, match=words) as caught:
            use(recipe(tmp_path, folder, data))  # type: ignore[operator]
        assert "\n" not in str(caught.value)


def test_a_model_without_a_chat_template_is_one_line_for_plan_and_training(
    tiny_vlm: Path, data: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_vlm, tmp_path / "model"))
    (folder / "chat_template.jinja").unlink()
    for use in (plan_recipe, train_recipe):
        with pytest.raises(UserError, match=r"no chat template.*chat_template\.jinja"):
            use(recipe(tmp_path, folder, data))  # type: ignore[operator]
