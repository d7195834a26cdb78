"""A measured model that dies ends nothing: its failures are counted, the others go on, and it alone is asked again."""

import asyncio
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.pipeline.planted_evaluation import DECLINES, evaluated, headline, honest, recipe
from tests.pipeline.planted_server import Asked, PlantedServer, Told

from spavl.errors import NoUseError, UserError
from spavl.evaluation_config import EvaluationConfig
from spavl.models.hf import HfModel
from spavl.pipeline.evaluation import Evaluated, evaluate_models, sample_for_people
from spavl.pipeline.evaluation_run import open_evaluation

RULES = {"rules": {"kind": "rules"}}
THREE = ["base", "aligned", "third"]


def three(server: PlantedServer, harmful: Path, **changes: Any) -> EvaluationConfig:
    """Returns a recipe of three models in that order, of which the third declines everything."""
    served = {"kind": "openai", "base_url": server.url, "retries": 0}
    models = {name: served | {"model": name} for name in THREE} | changes.pop("models", {})
    return recipe(server, harmful, judges=RULES, models=models, compare=THREE, **changes)


def answering(fault: Callable[[Asked], Told | None]) -> Callable[[Asked], Told]:
    """Returns a rule by which the aligned model has a fault, and the third declines."""

    def rule(asked: Asked) -> Told:
        if asked.model == "third":
            return Told(DECLINES)
        return (fault(asked) if asked.model == "aligned" else None) or honest(asked)

    return rule


def done(config: EvaluationConfig) -> Evaluated:
    with open_evaluation(config) as opened:
        return asyncio.run(evaluate_models(opened))


@pytest.mark.parametrize(
    ("fault", "answered", "why"),
    [
        (lambda asked: Told("", status=500), 0, "out of reach for 40 of 40"),
        (lambda asked: Told("", status=500) if asked.number >= 20 else None, 20, "out of reach for 20 of 40"),
        (lambda asked: Told("", status=401) if asked.number >= 20 else None, 20, "the key is missing or wrong"),
        (lambda asked: Told("", status=400), 0, "none of 40 items has a result"),
    ],
    ids=["server down", "server down half-way", "key refused half-way", "every request refused"],
)
def test_a_model_that_dies_is_counted_and_the_others_go_on(
    server: PlantedServer, harmful: Path, fault: Callable[[Asked], Told | None], answered: int, why: str
) -> None:
    """Once it is back, it alone is asked, for what it owes; the figures are then those of a run without trouble."""
    server.rule = answering(fault)
    config = three(server, harmful)
    broken = done(config)
    assert list(broken.unfinished) == ["answers/aligned"] and why in broken.figures.silent["aligned"]
    measure = headline(broken.figures, "rules")
    assert measure.models["aligned"].outcomes["answer_failed"] == 40 - answered
    assert (measure.models["aligned"].rate.n, "incomplete" in measure.models["aligned"].flags) == (answered, True)
    assert measure.changes["aligned"].change is None
    assert (measure.models["base"].rate.value, measure.models["third"].rate.value) == (0.6, 0.0)
    change = measure.changes["third"].change
    assert change is not None and change.value == -0.6
    counts = broken.manifests["answers"].counts
    assert (counts.items, counts.records, counts.failures) == (120, 80 + answered, 40 - answered)

    server.asked.clear()
    server.rule = answering(lambda asked: None)
    mended = done(config)
    assert Counter(asked.model for asked in server.asked) == {"aligned": 40 - answered}
    assert not mended.unfinished and not mended.figures.silent
    whole = evaluated(three(server, harmful, run=harmful.parent / "whole", calls=harmful.parent / "whole.sqlite"))
    assert mended.figures == whole

    server.asked.clear()
    assert evaluated(config) == whole and not server.asked


def test_the_baseline_may_die_and_the_others_rates_come_out(server: PlantedServer, harmful: Path) -> None:
    server.rule = lambda asked: Told("", status=500) if asked.model == "base" else answering(lambda _: None)(asked)
    measure = headline(done(three(server, harmful)).figures, "rules")
    assert [measure.models[name].rate.value for name in THREE] == [None, 0.15, 0.0]
    assert all(measure.changes[name].change is None for name in THREE[1:])


def test_no_sheet_is_drawn_while_a_model_owes_answers(server: PlantedServer, harmful: Path) -> None:
    server.rule = answering(lambda asked: Told("", status=500))
    with (
        open_evaluation(three(server, harmful)) as opened,
        pytest.raises(NoUseError, match="the model aligned owes answers"),
    ):
        asyncio.run(sample_for_people(opened, 10))
    assert not (harmful.parent / "run" / "for_people.csv").exists()


def test_a_judge_whose_key_is_refused_leaves_the_other_judges_figures(server: PlantedServer, harmful: Path) -> None:
    server.rule = lambda asked: Told("", status=401) if asked.model == "judge" else honest(asked)
    judges = {"rubric": {"kind": "rubric", "model": "judge"}} | RULES
    found = done(recipe(server, harmful, judges=judges))
    assert list(found.unfinished) == ["verdicts_rubric"]
    assert headline(found.figures).models["base"].outcomes == {"judge_failed": 40}
    assert headline(found.figures, "rules").models["base"].rate.value == 0.6
    server.asked.clear()
    server.rule = honest
    assert headline(evaluated(recipe(server, harmful, judges=judges))).models["base"].rate.value == 0.6
    assert {asked.model for asked in server.asked} == {"judge"}


@pytest.fixture
def local(tiny_vlm: Path, tmp_path: Path) -> dict[str, Any]:
    """A model of this process's own, in a folder that a test may remove."""
    return {"kind": "hf", "path": str(shutil.copytree(tiny_vlm, tmp_path / "weights")), "batch_size": 8}


def test_a_folder_that_goes_missing_after_the_start_is_that_models_failure(
    server: PlantedServer, harmful: Path, local: dict[str, Any], tiny_vlm: Path
) -> None:
    """It goes when the first model, which is asked before it, is asked first."""
    folder = Path(local["path"])

    def rule(asked: Asked) -> Told:
        shutil.rmtree(folder, ignore_errors=True)
        return answering(lambda _: None)(asked)

    server.rule = rule
    config = three(server, harmful, models={"aligned": local}, max_tokens=4, max_cut=1)
    broken = done(config)
    assert "is neither a folder nor like a hub id" in broken.figures.silent["aligned"]
    assert headline(broken.figures, "rules").models["aligned"].outcomes == {"answer_failed": 40}
    assert headline(broken.figures, "rules").models["third"].rate.value == 0.0
    with pytest.raises(UserError, match="neither a folder nor like a hub id"):
        done(config)
    server.asked.clear()
    shutil.copytree(tiny_vlm, folder)
    server.rule = answering(lambda _: None)
    assert not done(config).unfinished and not server.asked


def test_a_model_that_runs_out_of_memory_keeps_what_it_answered(
    server: PlantedServer, harmful: Path, local: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its third batch of eight does not fit: 16 are answered, and only the other three batches are made later."""
    batches: list[int] = []
    write = HfModel._write

    def full_at_the_third(model: HfModel, vlm: Any, kind: Any, requests: list[Any], pictures: list[Any]) -> Any:
        batches.append(len(requests))
        if len(batches) == 3:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return write(model, vlm, kind, requests, pictures)

    monkeypatch.setattr(HfModel, "_write", full_at_the_third)
    server.rule = answering(lambda _: None)
    config = three(server, harmful, models={"aligned": local}, max_tokens=4, max_cut=1)
    broken = done(config)
    assert "CUDA out of memory" in broken.figures.silent["aligned"] and batches == [8, 8, 8]
    assert headline(broken.figures, "rules").models["aligned"].outcomes["answer_failed"] == 24
    batches[:] = [0, 0, 0]
    server.asked.clear()
    assert not done(config).unfinished and batches == [0, 0, 0, 8, 8, 8] and not server.asked
