"""Public benchmarks within a run: an evaluation recipe made of the run, before and after its training, in `public/`."""

import asyncio
from importlib.util import find_spec
from pathlib import Path

from spavl.config import RunConfig, judges_model
from spavl.evaluate.benchmarks.packaged import PACKAGED, packaged_folder
from spavl.evaluation_config import BenchmarkConfig, EvaluationConfig
from spavl.pipeline.evaluate import aligned
from spavl.pipeline.evaluation import Evaluated, evaluate_models
from spavl.pipeline.evaluation_run import evaluation_stages, open_evaluation

PUBLIC = "public"
"""Where the evaluation lies in the run's directory."""


def lacking(config: RunConfig) -> dict[str, str]:
    """Returns benchmark -> how to get its files, of those whose package is not installed."""
    names = [one.name for one in config.evaluate.public_benchmarks if _is_lacking(one)]
    return {name: PACKAGED[name].install for name in names}


def _is_lacking(benchmark: BenchmarkConfig) -> bool:
    return benchmark.path is None and benchmark.name in PACKAGED and packaged_folder(benchmark.name) is None


def public_recipe(config: RunConfig) -> EvaluationConfig | None:
    """Returns the evaluation of a run's models on public benchmarks; None where none is asked for or at hand.

    Training data is looked for in it only where datasketch, which that needs, is installed.
    """
    benchmarks = tuple(one for one in config.evaluate.public_benchmarks if not _is_lacking(one))
    if not benchmarks:
        return None
    judge, base = config.evaluate.judge, config.train.model
    asked = judges_model(judge)
    models = {"before": config.models[base], "after": aligned(config)}
    return EvaluationConfig(
        run=config.run / PUBLIC,
        seed=config.seed,
        calls=config.calls,
        models=models if asked is None else models | {asked: config.models[asked]},
        compare=("before", "after"),
        judges={judge.kind: judge},
        benchmarks=benchmarks,
        max_tokens=config.evaluate.max_tokens,
        max_cut=1.0,  # the run's own figures are of the same short answers; what was cut is counted in the page
        confidence=config.evaluate.confidence,
        training=config.run if find_spec("datasketch") else None,
    )


def evaluate_public(recipe: EvaluationConfig, *, again: bool) -> Evaluated:
    """Measures both models; what is stored already is not asked again.

    Args:
        recipe: What `public_recipe` made.
        again: Whether an earlier evaluation is done away with, since the run's own stages were.

    Raises:
        UserError: A benchmark's files are damaged.
        RunError: A model or a judge was out of reach too often, or the disk is full.
    """
    with open_evaluation(recipe) as opened:
        if again:  # replies that could not be read were forgotten with the run's own stages
            opened.run.restart_from("samples", evaluation_stages(recipe))
        return asyncio.run(evaluate_models(opened))


def public_results(run: Path) -> Path:
    """Returns where the figures of a run's public benchmarks lie."""
    return run / PUBLIC / "results.json"
