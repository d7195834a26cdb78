"""`spavl check`: validates a configuration before anything is spent."""

import os
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spavl.cli.options import AsJson, ConfigPath, Overrides, say
from spavl.config import ModelConfig, OpenAIModelConfig, RunConfig, load_config
from spavl.config_file import read_body, validate_body
from spavl.errors import UserError
from spavl.evaluation_config import EvaluationConfig
from spavl.execution_config import ExecutionConfig, RayExecutionConfig
from spavl.recipe_config import RecipeConfig
from spavl.taxonomy import chosen_leaves, load_taxonomy
from spavl.tracker_config import check_trackers

if TYPE_CHECKING:
    from spavl.evaluate.list_samples import Source


def check(config: ConfigPath, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Check a configuration: every field, model name, leaf, key and folder it speaks of."""
    body = read_body(config, overrides or ())
    if "benchmarks" in body:
        say(*check_evaluation(validate_body(EvaluationConfig, body, config), config), as_json)
        return
    if "data" in body:
        say(*check_recipe(validate_body(RecipeConfig, body, config), config), as_json)
        return
    loaded = load_config(config, overrides or ())
    leaves = check_references(loaded)
    result = {"config": loaded.model_dump(mode="json"), "leaves": leaves}
    lines = [
        f"{config}: good.",
        f"  run        {loaded.run}",
        f"  leaves     {leaves}",
        f"  models     {', '.join(f'{name} ({model.kind})' for name, model in loaded.models.items())}",
        f"  responders {', '.join(loaded.responses.responders)}",
    ]
    say(result, lines, as_json)


def check_references(config: RunConfig) -> int:
    """Checks what a configuration points at, and returns the number of leaves it collects for.

    Raises:
        UserError: A leaf is unknown or held out without being collected for, the source of pictures is missing, an API
            key is not set, an answer is begun for a server that is not said to continue it, a package is missing, or a
            prompt file is missing or wrong.
    """
    from spavl.images import check_source, load_caption_prompt
    from spavl.models.packages import check_packages
    from spavl.models.prefill import check_prefill  # aiohttp loads here, and not for `--help`
    from spavl.questions import begins_questions
    from spavl.texts.near import check_minhash

    collected: list[str] = []
    _say_all(
        lambda: collected.extend(chosen_leaves(config, load_taxonomy(config.taxonomy)).collected),
        lambda: check_source(config.images),
        lambda: check_keys(config.models),
        lambda: check_packages(config.models, config.images),
        lambda: check_prefill(config, openings=begins_questions(config.questions)),
        lambda: load_caption_prompt(config.captions.prompt),
        lambda: check_minhash("checks.near_duplicates") if config.checks.near_duplicates else None,
        lambda: check_trackers(config.train.trackers),
        lambda: check_execution(config.execution),
    )
    return len(collected)


def _say_all(*checks: Callable[[], object]) -> None:
    """Runs every check, and raises what is wrong by any of them, a line for each.

    Raises:
        UserError: Something is.
    """
    wrong = []
    for one in checks:
        try:
            one()
        except UserError as error:
            wrong.append(str(error))
    if wrong:
        raise UserError("\n".join(wrong))


def check_keys(models: Mapping[str, ModelConfig]) -> None:
    """Checks that the servers' keys are set.

    Raises:
        UserError: One is not.
    """
    wrong = [
        f"models.{name}.api_key_env: the environment variable {model.api_key_env} is not set. "
        "Set it to the server's key, or leave the field out."
        for name, model in models.items()
        if isinstance(model, OpenAIModelConfig) and model.api_key_env and model.api_key_env not in os.environ
    ]
    if wrong:
        raise UserError("\n".join(wrong))


def check_execution(execution: ExecutionConfig) -> None:
    """Checks that the package is there that workers need; no cluster is asked.

    Raises:
        UserError: It is not.
    """
    from spavl.models.opening import open_workers

    if isinstance(execution, RayExecutionConfig):
        open_workers(execution)


def check_recipe(config: RecipeConfig, path: Path) -> tuple[dict[str, Any], list[str]]:
    """Checks what a training recipe points at, but for its data, which `spavl train --plan` looks at.

    Raises:
        UserError: An API key is not set, or a tracker's package is missing.
    """
    _say_all(lambda: check_keys(config.models), lambda: check_trackers(config.train.trackers))
    models = ", ".join(f"{name} ({model.kind})" for name, model in config.models.items()) or "none"
    lines = [
        f"{path}: good.",
        f"  run        {config.run}",
        f"  method     {config.train.method}, of {config.settings.model}",
        f"  data       {config.data.path}, split {config.data.split}; `spavl train --plan` looks at its rows",
        f"  judges ask {models}",
    ]
    return {"config": config.model_dump(mode="json")}, lines


def check_evaluation(config: EvaluationConfig, path: Path) -> tuple[dict[str, Any], list[str]]:
    """Checks what an evaluation recipe points at, its benchmarks' rows included, and returns what to say.

    Raises:
        UserError: A key is not set, or a benchmark's files are missing, damaged or of another kind.
    """
    from spavl.evaluate.list_samples import for_each
    from spavl.models.packages import check_packages
    from spavl.pipeline.evaluation_run import find_sources  # the models' libraries load here, and not for `--help`

    check_keys(config.models)
    check_packages(config.models)
    check_execution(config.execution)
    coverage = for_each(find_sources(config), _coverage)
    lines = [
        f"{path}: good.",
        f"  run        {config.run}",
        f"  models     {', '.join(config.measured)}",
        f"  judges     {', '.join(f'{name} ({judge.kind})' for name, judge in config.judges.items())}",
        *(f"  benchmark  {name}: {_coverage_text(found)}" for name, found in coverage.items()),
    ]
    return {"config": config.model_dump(mode="json"), "coverage": coverage}, lines


def _coverage(source: "Source") -> dict[str, Any]:
    """Counts what a benchmark's files give, before any picture is opened.

    Raises:
        UserError: The files are missing, damaged or of another kind.
    """
    from spavl.evaluate.benchmarks import Unusable

    listed, pictures, left_out = 0, 0, Counter[str]()
    for row in source.rows():
        listed += 1
        if isinstance(row, Unusable):
            left_out[row.failure.reason] += 1
        else:
            pictures += row.picture is not None
    asked = listed - left_out.total()
    return {
        "listed": listed,
        "published": source.published,
        "can_be_asked": asked,
        "with_picture": pictures,
        "left_out": dict(sorted(left_out.items())),
    }


def _coverage_text(found: Mapping[str, Any]) -> str:
    from spavl.evaluate.list_samples import of_published

    reasons = ", ".join(f"{reason} {count}" for reason, count in found["left_out"].items())
    listed = f"{found['listed']} rows listed{of_published(found['listed'], found['published'])}"
    return (
        f"{listed}, {found['can_be_asked']} can be asked, {found['with_picture']} with a picture"
        f"{f'; left out: {reasons}' if reasons else ''}"
    )
