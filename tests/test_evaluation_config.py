"""Evaluation recipes: the ready ones load, who is measured and who decides, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from spavl.config_file import read_body, validate_body
from spavl.evaluation_config import EvaluationConfig

RECIPES = sorted((Path(__file__).parents[1] / "configs" / "evaluate").glob("*.yaml"))
SERVED = {"kind": "openai", "base_url": "http://localhost:1/v1"}


def recipe(**changes: Any) -> EvaluationConfig:
    body = {
        "run": "runs/r",
        "models": {name: SERVED | {"model": name} for name in ("first", "second", "judge")},
        "judges": {"guard": {"kind": "llama_guard_4", "model": "judge"}, "rules": {"kind": "rules"}},
        "benchmarks": [{"name": "xstest", "path": "x"}],
    }
    return EvaluationConfig.model_validate(body | changes)


DECIDING = {"before_after": ("rubric", "rubric"), "embedded_before_after": ("embedded", "embedded")}
"""Who decides what is unsafe, and who compares answers."""


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_ready_recipes_load_and_measure_before_and_after(path: Path) -> None:
    config = validate_body(EvaluationConfig, read_body(path), path)
    assert config.measured == ("base", "aligned")
    assert (config.deciding, config.comparing) == DECIDING[path.stem]


def test_models_behind_judges_are_not_measured_and_the_baseline_comes_first() -> None:
    assert recipe().measured == ("first", "second")
    assert recipe(baseline="second").measured == ("second", "first")
    assert recipe(compare=["judge"]).measured == ("judge",)


def test_the_first_judge_decides_and_none_of_them_compares() -> None:
    assert (recipe().deciding, recipe(judge="rules").deciding, recipe().comparing) == ("guard", "rules", None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"baseline": "judge"}, "baseline: there is no 'judge'; choose one of first, second"),
        ({"judges": {"g": {"kind": "rubric", "model": "m"}}}, r"judges\.g\.model: there is no 'm'"),
        ({"judges": {"g": {"kind": "llava_guard", "model": "judge"}}}, "sees the picture alone"),
        ({"benchmarks": [{"name": "xstest", "path": "x"}] * 2}, "xstest stands there 2 times"),
        ({"judge_error": {"sensitivity": [0.4, 1], "specificity": [0.6, 1]}}, "no more than 1"),
        ({"judge_error": {"sensitivity": [1, 0.4], "specificity": [0.6, 1]}}, r"write \[least, most\]"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        recipe(**changes)
