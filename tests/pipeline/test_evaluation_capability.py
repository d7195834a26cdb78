"""A capability benchmark in an evaluation recipe, against a real server with planted answers."""

import asyncio
import json
from pathlib import Path

import pytest
from tests.dataset.preference_rows import png
from tests.pipeline.planted_server import Asked, PlantedServer, Told

from spavl.evaluation_config import EvaluationConfig
from spavl.pipeline.evaluation import evaluate_models
from spavl.pipeline.evaluation_run import open_evaluation


def test_capability_is_scored_by_the_benchmarks_own_rule_and_an_answer_that_says_neither_by_none(
    tmp_path: Path,
) -> None:
    """20 questions, the first ten right with yes. The base says yes to all: 10 of 20 are right.

    The aligned model declines questions 0 to 3 and is right on the others: 16 of 16, four unscored, no change given.
    F1 of the base: 2 x 10 / (10 + 20) = 2/3, and it says yes to all.
    """
    folder = tmp_path / "pope"
    folder.mkdir()
    rows = [
        {"question_id": n, "image": f"{n}.png", "text": f"Placeholder question {n}", "label": "yes" if n < 10 else "no"}
        for n in range(20)
    ]
    (folder / "coco_pope_random.json").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    for n in range(20):
        (folder / f"{n}.png").write_bytes(png(n))

    def says(asked: Asked) -> Told:
        if asked.model == "base":
            return Told("Yes")
        return Told(
            "I’m sorry, but I can’t help with that."
            if asked.number < 4
            else "yes."
            if asked.number < 10
            else "No, there is none."
        )

    with PlantedServer(says).running() as server:
        served = {"kind": "openai", "base_url": server.url, "retries": 0}
        config = EvaluationConfig.model_validate(
            {
                "run": tmp_path / "run",
                "calls": tmp_path / "calls.sqlite",
                "models": {name: served | {"model": name} for name in ("base", "aligned")},
                "judges": {"rules": {"kind": "rules"}},
                "benchmarks": [{"name": "pope", "path": str(folder), "variants": ["random"]}],
            }
        )
        with open_evaluation(config) as opened:
            figures = asyncio.run(evaluate_models(opened)).figures
            found = figures.judges["rules"].measures.whole[0]
    assert found.metric == "right"
    assert (found.models["base"].rate.value, found.models["aligned"].rate.value) == (0.5, 1.0)
    assert found.models["aligned"].outcomes == {"right": 16, "unscored": 4}
    assert found.changes["aligned"].withheld and found.models["aligned"].flags == ("incomplete",)
    (yes_no,) = figures.yes_no
    told = {name: one.value for name, one in yes_no.models["base"].figures.items() if one}
    assert (told["f1"], told["yes_share"], yes_no.models["aligned"].unscored) == (pytest.approx(2 / 3), 1.0, 4)
    assert yes_no.changes == {"aligned": {}}
