"""The report of a dataset that nothing is trained on yet."""

import json
import shutil
from pathlib import Path

import pytest
from tests.report.conftest import HOSTILE, FinishedRun

from spavl.cli.road import travel
from spavl.errors import UserError
from spavl.report import ReportPaths, write_dataset_report
from spavl.store import RunDirectory


@pytest.fixture(scope="module")
def built(finished: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """The finished run as it was before its training."""
    run, config = finished
    path = tmp_path_factory.mktemp("built") / run.path.name
    later = ("train", "samples", "answers", "verdicts", "contests", "report", "summary.json")
    shutil.copytree(run.path, path, ignore=shutil.ignore_patterns(*later))
    return RunDirectory(path), config.model_copy(update={"run": path})


def test_it_says_of_the_dataset_what_the_whole_report_says(built: FinishedRun, report: ReportPaths) -> None:
    written = write_dataset_report(*built)
    assert written.page.name == "dataset.html" and json.loads(written.summary_file.read_bytes()) == written.summary
    for part in ("judging", "leakage", "opinions", "captions"):
        assert written.summary[part] == report.summary[part]
    page, whole = written.page.read_text(encoding="utf-8"), report.page.read_text(encoding="utf-8")
    begin, end = "Coverage of the taxonomy", "Where the pictures came from"
    assert page[page.index(begin) : page.index(end)] == whole[whole.index(begin) : whole.index(end)]
    assert "the answer that stood first won" in page and "Bradley-Terry" in page
    judging = written.summary["judging"]
    assert f"{judging['agreed']} preference pairs, from {judging['drawn']} pairs of responses" in page


def test_it_runs_no_script_whatever_the_words_are(built: FinishedRun) -> None:
    page = write_dataset_report(*built).page.read_text(encoding="utf-8")
    assert "<script" not in page and HOSTILE not in page


def test_the_same_run_gives_the_same_bytes_wherever_it_lies(built: FinishedRun, tmp_path: Path) -> None:
    run, config = built
    there = RunDirectory(shutil.copytree(run.path, tmp_path / run.path.name))
    assert write_dataset_report(there, config).page.read_bytes() == write_dataset_report(*built).page.read_bytes()


def test_a_station_of_the_build_that_is_not_finished_is_named(built: FinishedRun, tmp_path: Path) -> None:
    run, config = built
    there = RunDirectory(shutil.copytree(run.path, tmp_path / "copy"))
    (there.path / "preferences" / "manifest.json").unlink()
    with pytest.raises(UserError, match=r"`preferences` .* is not finished. Run `spavl build CONFIG`"):
        write_dataset_report(there, config)


def test_the_command_line_reports_the_dataset_before_the_training(
    built: FinishedRun, capsys: pytest.CaptureFixture[str]
) -> None:
    _, config = built
    travel(config, ("report",), None, as_json=False)
    assert f"report: {config.run / 'report' / 'dataset.html'}" in capsys.readouterr().out
