"""A run's directory: one process, stages on finished stages, restart and look-up."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from spavl.errors import RunError, UserError
from spavl.records import Question, QuestionType
from spavl.store import Outcome, RunDirectory

STAGES = ("images", "questions", "responses")
HOLD = """
import sys, time
from pathlib import Path
from spavl.store import RunDirectory
with RunDirectory(Path(sys.argv[1])).locked():
    print("held", flush=True)
    time.sleep(60)
"""


def question(text: str) -> Question:
    return Question(image_id="img-1", leaf="d/c/s", question_type=QuestionType.HARD_QUESTION, text=text, writer="tiny")


def finish(run: RunDirectory, name: str, text: str, *upstream: str) -> Question:
    record = question(text)
    stage = run.stage(name, {}, upstream)
    stage.append([Outcome("item", record=record)])
    stage.finish(["item"])
    return record


def test_a_second_process_is_refused_while_the_first_lives_and_not_after_it_was_killed(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(run.path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=r"Another process is at work in .*run\. Wait"), run.locked():
            pass
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    with run.locked():
        pass


def test_a_run_that_is_a_file_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(RunError, match=r"Cannot write .*run: File exists"), RunDirectory(tmp_path / "run").locked():
        pass


def test_a_stage_waits_for_the_stages_before_it(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.stage("images", {})
    with pytest.raises(UserError, match=r"Stage images of .* is not finished"):
        run.stage("questions", {}, ["images"])


def test_a_stage_is_refused_when_the_one_before_it_was_made_again_otherwise(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    finish(run, "images", "placeholder 1")
    finish(run, "questions", "placeholder 2", "images")
    run.restart_from("images", ["images"])
    finish(run, "images", "placeholder 3")
    with pytest.raises(UserError, match=r"`inputs\.images` was .*--restart-from questions"):
        run.stage("questions", {}, ["images"])


def test_a_stage_made_again_the_same_leaves_those_after_it_in_peace(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    finish(run, "images", "placeholder 1")
    finish(run, "questions", "placeholder 2", "images")
    run.restart_from("images", ["images"])
    finish(run, "images", "placeholder 1")
    assert run.stage("questions", {}, ["images"]).pending(["item"]) == []


def test_restarting_removes_a_stage_and_those_after_it(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    for name in STAGES[:2]:
        finish(run, name, name)
    run.restart_from("questions", STAGES)
    assert [child.name for child in tmp_path.iterdir()] == ["images"]


def test_restarting_from_an_unknown_stage_removes_nothing(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    finish(run, "images", "placeholder 1")
    with pytest.raises(
        UserError, match=r"--restart-from image: there is no such stage\. Choose one of: images, questions"
    ):
        run.restart_from("image", STAGES)
    assert (tmp_path / "images" / "manifest.json").exists()


def test_a_record_is_found_by_its_id_or_the_beginning_of_it(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    finish(run, "images", "placeholder 1")
    record = finish(run, "questions", "placeholder 2", "images")
    found = run.find(record.id)
    assert found is not None
    assert found[0] == "questions"
    assert Question.model_validate(found[1]) == record
    assert run.find(record.id[:12]) == found
    assert run.find("que-none") is None


def test_records_of_a_stage_that_was_changed_are_not_read(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    finish(run, "images", "placeholder 1")
    results = tmp_path / "images" / "results.jsonl"
    results.write_bytes(results.read_bytes().replace(b"placeholder 1", b"placeholder 2"))
    for use in (
        lambda: run.records("images", Question),
        lambda: run.stage("questions", {}, ["images"]),
        lambda: run.manifests(STAGES),
    ):
        with pytest.raises(RunError, match=r"images/results\.jsonl is not what it was .*--restart-from images"):
            use()


def test_the_beginning_of_several_ids_is_refused_with_some_of_them(tmp_path: Path) -> None:
    """Seven records: five are listed, two are counted. A record that stands in two stages is one record."""
    run = RunDirectory(tmp_path)
    records = [question(f"placeholder {number}") for number in range(7)]
    for name in STAGES[:2]:
        stage = run.stage(name, {})
        stage.append([Outcome(record.text, record=record) for record in records])
    with pytest.raises(UserError, match=r"^que- is the beginning of 7 ids: .* and 2 more\. Give more") as caught:
        run.find("que-")
    assert [record.id for record in records if record.id in str(caught.value)] == [one.id for one in records[:5]]
    found = run.find(records[3].id[:14])
    assert found is not None
    assert found[1]["text"] == "placeholder 3"


def test_a_record_is_found_in_a_stage_that_was_torn(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    record, lost = question("placeholder 1"), question("placeholder 2")
    stage = run.stage("questions", {})
    stage.append([Outcome("item", record=record)])
    with stage.results_path.open("ab") as file:
        file.write(Outcome("other", record=lost).to_line()[:-5])
    assert run.find(record.id) is not None
    assert run.find(lost.id) is None
