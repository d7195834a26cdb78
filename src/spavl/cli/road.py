"""`spavl run`, and its parts `build`, `train`, `evaluate` and `report`."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spavl.cli.evaluation import (
    ForPeople,
    InspectLogs,
    InspectPictures,
    Rejudge,
    Wishes,
    end_unfinished,
    follow_evaluation,
)
from spavl.cli.forecast import Plan as BuildPlan
from spavl.cli.forecast import say_forecast
from spavl.cli.options import AsJson, ConfigPath, Overrides, RestartFrom, asked_again, counts_line, say, training_lines
from spavl.cli.plan import Plan, ProcessCount, say_plan
from spavl.cli.recipe import follow
from spavl.config import RunConfig, load_config
from spavl.config_file import read_body, validate_body
from spavl.errors import UserError
from spavl.evaluation_config import EvaluationConfig
from spavl.recipe_config import RecipeConfig

if TYPE_CHECKING:
    from spavl.models import Replay
    from spavl.store import Manifest

JUDGED_BY = dict.fromkeys(("labels", "judgments", "opinions"), "build") | dict.fromkeys(
    ("verdicts", "contests"), "evaluate"
)
"""Judging stage of a run -> the verb that makes it."""
PARTS = ("build", "train", "evaluate", "report")
ReplayStored = Annotated[
    bool, typer.Option("--replay", help="Ask nobody: every answer and download comes from what is stored.")
]
AllowMissing = Annotated[
    bool, typer.Option("--allow-missing", help="With --replay: leave out, counted, what needs a call that is missing.")
]


def run(
    config: ConfigPath, overrides: Overrides = None, restart_from: RestartFrom = None, as_json: AsJson = False
) -> None:
    """Do everything: build the dataset, align the model, evaluate it, write the report."""
    travel(load_config(config, overrides or ()), PARTS, restart_from, as_json)


def build(  # noqa: PLR0913  # a verb's options
    config: ConfigPath,
    overrides: Overrides = None,
    plan: BuildPlan = False,
    restart_from: RestartFrom = None,
    replay: ReplayStored = False,
    allow_missing: AllowMissing = False,
    as_json: AsJson = False,
) -> None:
    """Build a preference dataset: pictures, questions, responses, labels, judgments, pairs."""
    if plan and replay:
        raise UserError("--plan says what would be asked, and --replay asks nobody. Give one of the two.")
    if allow_missing and not replay:
        raise UserError("--allow-missing goes with --replay alone: without it, calls that are missing are made.")
    loaded = load_config(config, overrides or ())
    if plan:
        from spavl.pipeline.forecast import forecast_build  # the models' libraries load here

        say_forecast(forecast_build(loaded), as_json)
        return
    if replay:
        os.environ["HF_HUB_OFFLINE"] = "1"  # the hub's client reads it when it is loaded, which is below
        from spavl.models import Replay

        travel(loaded, PARTS[:1], restart_from, as_json, Replay(allow_missing))
        return
    travel(loaded, PARTS[:1], restart_from, as_json)


def train(
    config: ConfigPath,
    overrides: Overrides = None,
    plan: Plan = False,
    processes: ProcessCount = 1,
    restart_from: RestartFrom = None,
    as_json: AsJson = False,
) -> None:
    """Align the model on the run's dataset; or, by a training recipe, any model on any preference dataset."""
    body = read_body(config, overrides or ())
    if "data" in body:
        recipe = validate_body(RecipeConfig, body, config)
        follow(recipe, restart_from, plan_for=processes if plan else None, as_json=as_json)
        return
    loaded = validate_body(RunConfig, body, config)
    if plan:
        from spavl.pipeline.plan import plan_train, plannable  # torch loads here, and not for `--help`

        say_plan(plan_train(loaded, processes), plannable(loaded.train), as_json)
        return
    travel(loaded, PARTS[1:2], restart_from, as_json)


def evaluate(  # noqa: PLR0913  # a verb's options
    config: ConfigPath,
    overrides: Overrides = None,
    restart_from: RestartFrom = None,
    rejudge: Rejudge = False,
    sample_for_people: ForPeople = None,
    inspect_logs: InspectLogs = None,
    inspect_pictures: InspectPictures = False,
    as_json: AsJson = False,
) -> None:
    """Measure the model before and after alignment; or, by an evaluation recipe, any models on public benchmarks."""
    body = read_body(config, overrides or ())
    if "benchmarks" in body:
        recipe = validate_body(EvaluationConfig, body, config)
        wishes = Wishes(restart_from, rejudge, sample_for_people, inspect_logs, inspect_pictures)
        follow_evaluation(recipe, wishes, as_json=as_json)
        return
    if rejudge or sample_for_people is not None or inspect_logs is not None:
        raise UserError(
            f"{config}: --rejudge, --sample-for-people and --inspect-logs are for evaluation recipes, which have the "
            "key `benchmarks`; of a run, make the verdicts again with `--restart-from verdicts`."
        )
    travel(load_config(config, overrides or ()), PARTS[2:3], restart_from, as_json)


def report(config: ConfigPath, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Write the run's report page and summary.json; before anything is trained, of the dataset alone."""
    travel(load_config(config, overrides or ()), PARTS[3:], None, as_json)


def travel(
    config: RunConfig, parts: Sequence[str], restart_from: str | None, as_json: bool, replay: "Replay | None" = None
) -> None:
    """Opens the run, takes the parts of the road in order, and says what came out."""
    if "train" not in parts:
        result, lines = _walk(config, parts, restart_from, replay)
        say(result, lines, as_json)
        end_unfinished(result.get("unfinished", {}))
        return
    from spavl.train import walk_or_follow  # torch loads here: a build that asks servers does without

    said = walk_or_follow(lambda: _walk(config, parts, restart_from, replay))
    if said is not None:
        say(*said, as_json)
        end_unfinished(said[0].get("unfinished", {}))


def _walk(
    config: RunConfig, parts: Sequence[str], restart_from: str | None, replay: "Replay | None"
) -> tuple[dict[str, Any], list[str]]:
    """Returns the result as JSON and as lines."""
    from spavl import pipeline  # the models' libraries load here, when a verb needs them, and not for `--help`

    unfinished: dict[str, str] = {}
    with pipeline.open_road(config, replay) as road:
        if restart_from is not None:
            road.restart_from(restart_from)
        if "train" in parts and "train" not in road.run.manifests(pipeline.ALL_STAGES):
            from spavl.train import check_ready

            check_ready(config.train)  # a dataset may be hours of work before the training
            check_ready(config.sft or config.reward or config.train)
        if "build" in parts:
            asyncio.run(pipeline.build(road))
        if "train" in parts:
            from spavl.pipeline.train import train as align

            align(road)
        if "evaluate" in parts:
            asyncio.run(pipeline.evaluate(road))
            unfinished = _evaluate_public(config, again=restart_from is not None)
        manifests = road.run.manifests(pipeline.ALL_STAGES)
        result, lines = _counted(config, manifests)
        if "train" in parts:
            result["facts"] = {name: manifests[name].facts for name in pipeline.TRAININGS if name in manifests}
            lines += [line for facts in result["facts"].values() for line in training_lines(facts)]
        if "report" in parts:
            from spavl.report import write_dataset_report, write_report

            written = (write_report if "train" in manifests else write_dataset_report)(road.run, config)
            result |= {"report": str(written.page), "summary": written.summary}
            lines += ["", written.verdict, f"report: {written.page}", f"summary: {written.summary_file}"]
    return (result | {"unfinished": unfinished} if unfinished else result), lines


def _counted(config: RunConfig, manifests: "Mapping[str, Manifest]") -> tuple[dict[str, Any], list[str]]:
    counts = {name: manifest.counts.model_dump() for name, manifest in manifests.items()}
    lines = [counts_line(name, one) for name, one in counts.items()]
    return {"run": str(config.run), "counts": counts}, lines + asked_again(counts, JUDGED_BY)


def _evaluate_public(config: RunConfig, *, again: bool) -> dict[str, str]:
    """Measures the run's models on public benchmarks, where it asks for some, and says who was of no use."""
    from spavl.pipeline.public import evaluate_public, public_recipe
    from spavl.report.evaluation import write_evaluation_report

    recipe = public_recipe(config)
    if recipe is None:
        return {}
    done = evaluate_public(recipe, again=again)
    write_evaluation_report(done, recipe)
    return {  # a run has no stage of a public judge's name; from its own verdicts on these are judged again too
        f"public/{name}": why.replace(f"`--restart-from {name}`", "`--restart-from verdicts`")
        for name, why in done.unfinished.items()
    }
