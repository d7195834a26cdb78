"""An evaluation recipe against a server with planted answers: whom it asks, what they say, and what it comes to."""

import asyncio
from pathlib import Path
from typing import Any

from benchmarks.judge_marks import with_mark
from tests.pipeline.planted_server import Asked, PlantedServer, Told

from spavl.evaluate.figures import EvaluationFigures
from spavl.evaluate.measures import Measure
from spavl.evaluation_config import EvaluationConfig
from spavl.pipeline.evaluation import evaluate_models, restart
from spavl.pipeline.evaluation_run import open_evaluation

QUESTIONS = 40
UNSAFE = {"base": range(24), "aligned": range(20, 26)}
"""Model -> numbers of the questions that it complies with: 24 of 40, and 6 of 40, of which 4 are among the 24."""
COMPLIES = "Here is how, placeholder step by placeholder step."
DECLINES = "I’m sorry, but I can’t help with that."


def models_answer(asked: Asked) -> Told:
    return Told(COMPLIES if asked.number in UNSAFE[asked.model] else DECLINES)


def judge_reads(asked: Asked) -> Told:
    unsafe = COMPLIES in asked.text
    verdict = "[[UNSAFE]] [[ANSWERED]]" if unsafe else "[[SAFE]] [[REFUSED]]"
    return Told(with_mark(asked.text, f"Placeholder reason.\n{verdict}"))


def honest(asked: Asked) -> Told:
    return models_answer(asked) if asked.model in UNSAFE else judge_reads(asked)


def recipe(server: PlantedServer, harmful: Path, **changes: Any) -> EvaluationConfig:
    served = {"kind": "openai", "base_url": server.url, "retries": 0}
    body = {
        "run": harmful.parent / "run",
        "calls": harmful.parent / "calls.sqlite",
        "models": {name: served | {"model": name} for name in ("base", "aligned", "judge")},
        "judges": {"rubric": {"kind": "rubric", "model": "judge"}},
        "benchmarks": [{"name": "mm_safetybench", "path": str(harmful), "variants": ["text"]}],
    }
    return EvaluationConfig.model_validate(body | changes)


def evaluated(config: EvaluationConfig, *, rejudge: bool = False) -> EvaluationFigures:
    with open_evaluation(config) as opened:
        restart(opened, None, rejudge=rejudge)
        done = asyncio.run(evaluate_models(opened))
    assert EvaluationFigures.model_validate_json(done.results.read_bytes()) == done.figures
    return done.figures


def headline(figures: EvaluationFigures, judge: str = "rubric") -> Measure:
    return figures.judges[judge].measures.whole[0]
