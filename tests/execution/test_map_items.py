"""Mapping work over items: every item once, bounded, resumed as if never interrupted, even after kill -9."""

import asyncio
import json
import subprocess
import sys
import time
import weakref
from collections.abc import Sequence
from pathlib import Path

import pytest

from spavl.errors import RunError
from spavl.execution import LazyItems, map_items
from spavl.records import Failure, Question, QuestionType
from spavl.store import Outcome, StageDirectory, Usage

ITEMS = [(f"item-{number:02}", number) for number in range(10)]
Group = Sequence[tuple[str, int]]


def outcome(item: str, number: int) -> Outcome:
    """Every seventh item fails."""
    if number % 7 == 6:
        return Outcome(item, failure=Failure(reason="empty", message=f"nothing for {item}"))
    text = f"placeholder harmful question {number}"
    kind = QuestionType.EASY_QUESTION
    return Outcome(item, record=Question(image_id="img", leaf="d/c/s", question_type=kind, text=text, writer="w"))


class Worker:
    """Remembers the groups it was given and how many it had at once; later groups are faster, so order is mixed."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.groups: list[list[str]] = []
        self.fail_at = fail_at
        self.at_once = self.most_at_once = 0

    async def __call__(self, group: Group) -> tuple[list[Outcome], Usage]:
        self.groups.append([item for item, _ in group])
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        await asyncio.sleep(0.002 * (4 - len(self.groups) % 4))
        self.at_once -= 1
        if any(number == self.fail_at for _, number in group):
            raise RunError("the server is gone")
        return [outcome(item, number) for item, number in group], Usage(calls=len(group))


def run(stage: StageDirectory, worker: Worker, group_size: int = 1, concurrency: int = 1) -> None:
    asyncio.run(map_items(stage, dict(ITEMS), worker, label="test", group_size=group_size, concurrency=concurrency))


def stage_at(path: Path) -> StageDirectory:
    return StageDirectory(path / "questions", {}, {})


def results(stage: StageDirectory) -> bytes:
    stage.finish([item for item, _ in ITEMS])
    return stage.results_path.read_bytes()


@pytest.mark.parametrize(("group_size", "concurrency"), [(1, 1), (1, 3), (4, 1), (4, 3), (100, 100)])
def test_every_item_is_worked_once_and_results_do_not_depend_on_how(
    tmp_path: Path, group_size: int, concurrency: int
) -> None:
    worker, stage = Worker(), stage_at(tmp_path)
    run(stage, worker, group_size, concurrency)
    assert sorted(item for group in worker.groups for item in group) == [item for item, _ in ITEMS]
    plain = stage_at(tmp_path / "plain")
    plain.append([outcome(item, number) for item, number in ITEMS])
    assert results(stage) == results(plain)
    manifest = stage.manifest()
    assert manifest is not None
    assert (manifest.usage.calls, manifest.counts.records, manifest.counts.failures) == (10, 9, 1)


@pytest.mark.parametrize("concurrency", [1, 3])
def test_no_more_groups_are_in_flight_than_allowed(tmp_path: Path, concurrency: int) -> None:
    worker = Worker()
    run(stage_at(tmp_path), worker, concurrency=concurrency)
    assert worker.most_at_once == concurrency


def test_nothing_is_worked_when_everything_is_done(tmp_path: Path) -> None:
    stage, worker = stage_at(tmp_path), Worker()
    stage.append([outcome(item, number) for item, number in ITEMS])
    run(stage, worker)
    assert worker.groups == []


def test_an_interrupted_stage_forms_the_groups_of_an_uninterrupted_one(tmp_path: Path) -> None:
    """Groups of four of ten items: 0-3, 4-7, 8-9. With 0-3 and 5 done, 4-7 and 8-9 are worked; 5 keeps its line."""
    stage, worker = stage_at(tmp_path), Worker()
    kept = Outcome("item-05", failure=Failure(reason="kept", message=""))
    stage.append([outcome(*ITEMS[number]) for number in range(4)] + [kept])
    run(stage, worker, group_size=4)
    assert worker.groups == [["item-04", "item-05", "item-06", "item-07"], ["item-08", "item-09"]]
    assert stage.failures()["item-05"].reason == "kept"


def test_items_of_two_sections_are_in_no_group_together(tmp_path: Path) -> None:
    """Three items of `a`, two of `b` and one more of `a`, two at a time: 2 + 1, 2, 1."""
    names = ["a/1", "a/2", "a/3", "b/1", "b/2", "a/4"]
    items = LazyItems(6, lambda: iter(names), lambda name: int(name[2:]), section=lambda name: name[0])
    worker = Worker()
    asyncio.run(map_items(stage_at(tmp_path), items, worker, label="test", group_size=2))
    assert worker.groups == [["a/1", "a/2"], ["a/3"], ["b/1", "b/2"], ["a/4"]]


def test_an_error_no_item_is_to_blame_for_stops_the_stage_and_keeps_what_is_done(tmp_path: Path) -> None:
    stage = stage_at(tmp_path)
    with pytest.raises(RunError, match="the server is gone"):
        run(stage, Worker(fail_at=5))
    again = stage_at(tmp_path)
    assert again.pending([item for item, _ in ITEMS]) == [f"item-{number:02}" for number in range(5, 10)]
    run(again, Worker())
    assert len(results(again).splitlines()) == 10


def test_what_is_in_flight_when_an_error_comes_is_kept_and_nothing_more_is_begun(tmp_path: Path) -> None:
    """Item 0 fails at once; 1 to 3 are in flight and take longer; 4 to 9 are never begun."""
    stage, begun = stage_at(tmp_path), []

    async def work(group: Group) -> tuple[list[Outcome], Usage]:
        ((item, number),) = group
        begun.append(number)
        await asyncio.sleep(0.01 * number)
        if number == 0:
            raise RunError("the key is refused")
        return [outcome(item, number)], Usage()

    with pytest.raises(RunError, match="the key is refused"):
        asyncio.run(map_items(stage, dict(ITEMS), work, label="test", concurrency=4))
    assert begun == [0, 1, 2, 3]
    assert stage_at(tmp_path).pending([item for item, _ in ITEMS[:4]]) == ["item-00"]


def test_progress_is_said_on_standard_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage = stage_at(tmp_path)
    stage.append([outcome(*ITEMS[0])])
    run(stage, Worker())
    captured = capsys.readouterr()
    assert captured.err.startswith("test: 10/10 (")
    assert captured.out == ""


class Item:
    """Something that is counted while it lives."""


def test_items_live_only_while_their_group_is_in_flight(tmp_path: Path) -> None:
    """Three groups of four in flight are twelve items; the hundred others are not made yet, or gone."""
    alive: weakref.WeakSet[Item] = weakref.WeakSet()
    most = 0

    def load(name: str) -> Item:
        alive.add(item := Item())
        return item

    async def work(group: Sequence[tuple[str, Item]]) -> tuple[list[Outcome], Usage]:
        nonlocal most
        await asyncio.sleep(0)
        most = max(most, len(alive))
        return [outcome(name, 0) for name, _ in group], Usage()

    names = [f"item-{number:03}" for number in range(112)]
    items = LazyItems(len(names), lambda: iter(names), load)
    stage = stage_at(tmp_path)
    asyncio.run(map_items(stage, items, work, label="test", group_size=4, concurrency=3))
    assert stage.pending(names) == []
    assert 4 <= most <= 12
    assert not alive


SCRIPT = """
import asyncio, sys
from pathlib import Path
from spavl.execution import map_items
from spavl.records import Failure, Question, QuestionType
from spavl.store import Outcome, StageDirectory, Usage

run, log, pause_s, group_size = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
items = [(f"item-{number:02}", number) for number in range(60)]

async def work(group):
    await asyncio.sleep(pause_s * (1 + group[0][1] % 3))
    with log.open("a") as file:
        file.writelines(item + "\\n" for item, _ in group)
    outcomes = []
    for item, number in group:
        text = f"placeholder harmful question {number}"
        record = Question(image_id="img", leaf="d/c/s", question_type=QuestionType.EASY_QUESTION, text=text, writer="w")
        failure = Failure(reason="empty", message=item) if number % 7 == 6 else None
        outcomes.append(Outcome(item, failure=failure) if failure else Outcome(item, record=record))
    return outcomes, Usage(calls=len(group))

stage = StageDirectory(run / "questions", {}, {})
asyncio.run(map_items(stage, dict(items), work, label="test", group_size=group_size, concurrency=3))
stage.finish([item for item, _ in items])
"""


def script(run: Path, log: Path, pause_s: float, group_size: int) -> subprocess.Popen[bytes]:
    arguments = [str(run), str(log), str(pause_s), str(group_size)]
    return subprocess.Popen([sys.executable, "-c", SCRIPT, *arguments], stderr=subprocess.DEVNULL)


@pytest.mark.parametrize("group_size", [1, 4])
def test_a_killed_process_goes_on_and_ends_as_if_it_had_not_been(tmp_path: Path, group_size: int) -> None:
    """Kill -9 in the middle: what has a line is not worked again, the rest is, and the results are the same bytes."""
    results_path, log = tmp_path / "killed" / "questions" / "results.jsonl", tmp_path / "log"
    process = script(tmp_path / "killed", log, 0.02 * group_size, group_size)
    deadline = time.monotonic() + 30
    while not (results_path.exists() and results_path.read_bytes().count(b"\n") >= 20):
        assert time.monotonic() < deadline and process.poll() is None, "the run should be in the middle"
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -9
    lines = results_path.read_bytes()
    recorded = {json.loads(line)["item"] for line in lines[: lines.rfind(b"\n")].splitlines()}
    assert 20 <= len(recorded) < 60
    log.write_text("")
    assert script(tmp_path / "killed", log, 0, group_size).wait() == 0
    worked = log.read_text().split()
    assert len(worked) == len(set(worked))
    assert recorded.isdisjoint(worked)
    assert len(recorded) + len(worked) == 60
    assert script(tmp_path / "whole", tmp_path / "other", 0, group_size).wait() == 0
    assert results_path.read_bytes() == (tmp_path / "whole" / "questions" / "results.jsonl").read_bytes()
