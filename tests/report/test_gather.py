"""Reading a finished run."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from tests.report.conftest import FinishedRun

from spavl.benchmark_config import BenchmarkConfig
from spavl.errors import RunError, UserError
from spavl.pipeline import STAGES
from spavl.pipeline.public import public_results
from spavl.records import Answer, PreferencePair
from spavl.report.gather import ReportData, gather
from spavl.store import RunDirectory


def test_every_station_of_the_road_is_counted_and_adds_up(data: ReportData) -> None:
    assert tuple(data.manifests) == STAGES
    for manifest in data.manifests.values():
        counts = manifest.counts
        assert counts.items == counts.records + counts.failures + counts.dropped


def test_coverage_counts_what_was_built(data: ReportData) -> None:
    """16 leaves with 2 pictures each, of 53; 4 questions a picture, of which one failed."""
    coverage = data.dataset.coverage
    assert sum(domain.leaves for domain in coverage) == 53
    assert sum(domain.covered for domain in coverage) == 16
    assert sum(domain.pictures for domain in coverage) == 32
    assert sum(domain.questions for domain in coverage) == 127
    assert sum(domain.pairs for domain in coverage) == data.dataset.pairs.total == sum(data.dataset.splits.values())
    assert len(data.dataset.uncovered) == 53 - 16


def test_responders_stand_in_order_of_safety_with_their_groups(data: ReportData) -> None:
    responders = data.dataset.responders
    rates = [responder.safe.value for responder in responders if responder.safe]
    assert rates == sorted(rates)
    assert [responder.group for responder in responders] == [0, 1, 2, 3, 4]
    assert responders[0].name == "jailbroken"
    assert sum(responder.chosen for responder in responders) == data.dataset.pairs.total


def test_the_responders_of_harmful_pairs_are_counted_apart(data: ReportData, finished: FinishedRun) -> None:
    """Every pair is harmful or benign, and only answers of the harmful ones are counted, the most frequent first."""
    harmful = [one for one in finished[0].records("preferences", PreferencePair) if one.question_type.harmful]
    counted = data.dataset.pairs.harmful_chosen
    assert 0 < sum(counted.values()) == len(harmful) < data.dataset.pairs.total
    assert dict(counted) == Counter(one.chosen_responder for one in harmful)
    assert list(counted.values()) == sorted(counted.values(), reverse=True)


def test_judging_adds_up_to_the_pairs_drawn(data: ReportData) -> None:
    """The marker judge never flips, so what is neither agreed nor failed is a tie in both orders."""
    judging = data.dataset.judging
    assert judging.ties is not None
    assert judging.flips is not None
    assert judging.flips.value == 0
    assert judging.drawn == judging.agreed + judging.failed + round(judging.ties.value * judging.ties.n)


def test_pictures_are_counted_by_source_and_licence(data: ReportData) -> None:
    """Every third of 32 pictures, from the first on, is `drawn elsewhere`: 11."""
    assert [tuple(source) for source in data.dataset.sources] == [
        ("drawn", "CC0-1.0", 21),
        ("drawn elsewhere", "CC-BY-4.0", 11),
    ]


@pytest.mark.parametrize(("stage", "verb"), [("labels", "build"), ("train", "train"), ("contests", "evaluate")])
def test_a_station_that_is_not_finished_is_named_with_the_way_out(
    finished: FinishedRun, tmp_path: Path, stage: str, verb: str
) -> None:
    run, config = finished
    copy = shutil.copytree(run.path, tmp_path / "copy", ignore=shutil.ignore_patterns("pictures"))
    (copy / stage / "manifest.json").unlink()
    with pytest.raises(UserError, match=f"`{stage}` .* is not finished. Run `spavl {verb} CONFIG`"):
        gather(RunDirectory(copy), config)


def test_a_run_without_its_training_log_has_no_steps(finished: FinishedRun, tmp_path: Path) -> None:
    run, config = finished
    copy = shutil.copytree(run.path, tmp_path / "copy", ignore=shutil.ignore_patterns("pictures"))
    (copy / "train" / "metrics.jsonl").unlink()
    assert gather(RunDirectory(copy), config).steps == ()


def test_safety_groups_are_those_of_the_rates_that_the_labels_station_wrote(
    finished: FinishedRun, tmp_path: Path
) -> None:
    """With the rates turned round, the least safe group is the other end's; nothing is counted a second time."""
    run, config = finished
    copy = shutil.copytree(run.path, tmp_path / "copy", ignore=shutil.ignore_patterns("pictures"))
    path = copy / "labels" / "manifest.json"
    manifest = json.loads(path.read_bytes())
    manifest["facts"]["safe_rates"] = {name: 1 - rate for name, rate in manifest["facts"]["safe_rates"].items()}
    path.write_text(json.dumps(manifest))
    responders = gather(RunDirectory(copy), config).dataset.responders
    assert [responder.group for responder in responders] == [4, 3, 2, 1, 0]


def test_figures_that_another_version_wrote_are_named_with_the_way_to_new_ones(
    finished: FinishedRun, tmp_path: Path
) -> None:
    run, config = finished
    copy = shutil.copytree(run.path, tmp_path / "copy", ignore=shutil.ignore_patterns("pictures"))
    asking = config.evaluate.model_copy(
        update={"public_benchmarks": (BenchmarkConfig(name="xstest", path=str(tmp_path)),)}
    )
    public_results(copy).parent.mkdir()
    public_results(copy).write_text('{"models": ["before", "after"]}')
    with pytest.raises(UserError, match=r"another version of spavl wrote it.*`spavl evaluate CONFIG --restart-from sa"):
        gather(RunDirectory(copy), config.model_copy(update={"evaluate": asking}))


def test_a_station_that_was_changed_since_is_not_reported(finished: FinishedRun, tmp_path: Path) -> None:
    run, config = finished
    copy = shutil.copytree(run.path, tmp_path / "copy", ignore=shutil.ignore_patterns("pictures"))
    with (copy / "labels" / "results.jsonl").open("ab") as file:
        file.write(b"{}\n")
    with pytest.raises(RunError, match="is not what it was when the stage was finished"):
        gather(RunDirectory(copy), config)


def test_answers_that_loop_are_counted_by_model(data: ReportData, finished: FinishedRun) -> None:
    """The fixture's answers are short sentences, of which none says the same over and over."""
    answers = Counter(one.model for one in finished[0].records("answers", Answer))
    assert data.evaluation.looping == {model: (0, count) for model, count in answers.items()}
    assert set(answers) == {"before", "after"}
