"""Public benchmarks within a run: what is asked of whom, what is left out, and real files of installed packages."""

from pathlib import Path

import pytest
from tests.pipeline.planted_server import Asked, PlantedServer, Told

import spavl.cli
from spavl.config import RunConfig, load_config
from spavl.errors import UserError
from spavl.evaluate.benchmarks import packaged
from spavl.evaluation_config import EvaluationConfig
from spavl.pipeline.evaluation_run import find_sources
from spavl.pipeline.public import evaluate_public, lacking, public_recipe, public_results


def demo(folder: Path, *overrides: str) -> RunConfig:
    path = Path(spavl.cli.__file__).with_name("demo.yaml")
    return load_config(path, [f"run={folder / 'run'}", f"calls={folder / 'calls.sqlite'}", *overrides])


def test_a_runs_recipe_measures_its_model_before_and_after(tmp_path: Path) -> None:
    recipe = public_recipe(demo(tmp_path))
    assert recipe is not None and recipe.measured == ("before", "after")
    assert recipe.models["before"].kind == "embedded"
    assert recipe.models["after"].model_dump()["path"] == str(tmp_path / "run" / "train" / "model")
    assert (recipe.run, recipe.training) == (tmp_path / "run" / "public", tmp_path / "run")
    assert public_recipe(demo(tmp_path, "evaluate.public_benchmarks=[]")) is None


def test_a_benchmark_whose_package_is_not_there_is_left_out_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = packaged.PACKAGED["advbench"]._replace(module="no_such_package")
    monkeypatch.setitem(packaged.PACKAGED, "advbench", missing)  # type: ignore[arg-type]  # a dictionary
    config = demo(tmp_path, "evaluate.public_benchmarks=[{name: xstest}, {name: advbench}]")
    assert lacking(config) == {"advbench": "pip install --no-deps pyrit==1.1.0"}
    recipe = public_recipe(config)
    assert recipe is not None and [one.name for one in recipe.benchmarks] == ["xstest"]
    asked = EvaluationConfig.model_validate(recipe.model_dump() | {"benchmarks": [{"name": "advbench"}]})
    with pytest.raises(UserError, match=r"benchmarks\.0\.path: advbench: .* pip install --no-deps pyrit"):
        find_sources(asked.model_copy(update={"training": None}))
    other = EvaluationConfig.model_validate(recipe.model_dump() | {"benchmarks": [{"name": "mossbench"}]})
    with pytest.raises(UserError, match="mossbench: no package holds its files"):
        find_sources(other.model_copy(update={"training": None}))


def test_real_prompts_are_asked_and_an_evaluation_made_again_asks_nobody(tmp_path: Path) -> None:
    """Of XSTest's 250 safe prompts 6 are asked of two models; `before` declines all, `after` none."""

    def rule(asked: Asked) -> Told:
        return Told("I’m sorry, but I can’t help with that." if asked.model == "before" else "Here is a full answer.")

    with PlantedServer(rule).running() as server:
        served = {"kind": "openai", "base_url": server.url}
        config = demo(tmp_path, "evaluate.public_benchmarks=[{name: xstest, limit: 6}]")
        recipe = public_recipe(config)
        assert recipe is not None
        body = recipe.model_dump() | {
            "models": {name: served | {"model": name} for name in ("before", "after")},
            "judges": {"rules": {"kind": "rules"}},
            "training": None,
        }
        recipe = EvaluationConfig.model_validate(body)
        figures = evaluate_public(recipe, again=False).figures
        assert figures.coverage["xstest"].listed == 250 and figures.data_origin == {"xstest": "real"}
        refused = figures.judges["rules"].measures.whole[0]
        assert [one.rate.value for one in refused.models.values()] == [1.0, 0.0]
        assert public_results(tmp_path / "run").exists() and len(server.asked) == 12
        assert evaluate_public(recipe, again=True).figures == figures
        assert len(server.asked) == 12
