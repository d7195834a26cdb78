"""The driver between a stage and a model."""

import asyncio
from pathlib import Path
from typing import ClassVar

import pytest
from tests.models.scripted import ScriptedModel, echo

from spavl.errors import RunError
from spavl.judges.base import Exchange, Opinion
from spavl.judges.judge_items import judge_items
from spavl.judges.marks import Manner
from spavl.judges.rubric import RubricJudge
from spavl.models import CallStore, Completion, Reply, Request, StoredModel
from spavl.models.ask import ask, check_reached
from spavl.records import Failure, Record
from spavl.store import StageDirectory

ITEMS = [(f"item {number}", number) for number in range(7)]


class Note(Record):
    """What the tests' stage makes."""

    prefix: ClassVar[str] = "note"
    made_from: ClassVar[tuple[str, ...]] = ("text",)

    text: str


def run(folder: Path, model: ScriptedModel, items: list[tuple[str, int]] = ITEMS) -> StageDirectory:
    """Asks about every item; 3 is what `read` cannot use."""

    def read(number: int, completion: Completion) -> Note | Failure:
        if number == 3:
            return Failure(reason="unparsed", message="placeholder")
        return Note(text=completion.text)

    stage = StageDirectory(folder / "stage", {}, {})
    stored = StoredModel(model, CallStore(folder / "calls.sqlite"))
    asyncio.run(ask(stage, dict(items), stored, lambda number: Request(prompt=str(number)), read, label="test"))
    return stage


@pytest.mark.parametrize(("group_size", "concurrency"), [(1, 1), (1, 4), (3, 1), (3, 2), (10, 1)])
def test_every_item_gets_its_record_or_its_failure(tmp_path: Path, group_size: int, concurrency: int) -> None:
    """7 items: 2 is refused by the model, 3 cannot be read, 5 become records."""
    gone = Failure(reason="server_error", message="placeholder")

    def answer(request: Request) -> Reply:
        return gone if request.prompt == "2" else echo(request)

    stage = run(tmp_path, ScriptedModel(answer, group_size, concurrency))
    manifest = stage.finish([item for item, _ in ITEMS])
    assert [note.text for note in stage.records(Note)] == ["0", "1", "4", "5", "6"]
    assert {item: failure.reason for item, failure in stage.failures().items()} == {
        "item 2": "server_error",
        "item 3": "unparsed",
    }
    assert (manifest.usage.calls, manifest.usage.prompt_tokens) == (7, 12)


def test_an_interrupted_stage_forms_the_same_groups_and_asks_only_for_the_rest(tmp_path: Path) -> None:
    """Groups of 3 over 7 items: the kill comes in the second group, so the second and third are asked later."""

    def killed(request: Request) -> Reply:
        if request.prompt == "4":
            raise KeyboardInterrupt
        return echo(request)

    first, second = ScriptedModel(killed, group_size=3), ScriptedModel(group_size=3)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, first)
    stage = run(tmp_path, second)
    assert second.groups == [["3", "4", "5"], ["6"]]
    assert stage.finish([item for item, _ in ITEMS]).counts.items == 7


def test_a_finished_item_is_not_asked_about_again(tmp_path: Path) -> None:
    run(tmp_path, ScriptedModel(), ITEMS[:5])
    model = ScriptedModel()
    run(tmp_path, model)
    assert model.groups == [["5"], ["6"]]


REFUSED = Failure(reason="bad_request", message=f"The server refuses the request: HTTP 400 {'unknown field ' * 40}")
NAMES = [item for item, _ in ITEMS]


def test_a_stage_of_failures_alone_is_one_line_and_the_same_command_asks_again(tmp_path: Path) -> None:
    """All 7 are refused; then all are answered, of which `read` cannot use one."""
    stage = run(tmp_path, ScriptedModel(lambda _: REFUSED))
    with pytest.raises(RunError) as caught:
        check_reached(stage, len(ITEMS))
    said = str(caught.value)
    assert said.startswith("Stage stage: none of 7 items has a result, and 7 failed; the commonest reason is bad_")
    assert "HTTP 400 unknown field" in said and "run the same command again" in said
    assert "\n" not in said and len(said) < 500
    model = ScriptedModel()
    again = run(tmp_path, model)
    check_reached(again, len(ITEMS))
    assert sum(map(len, model.groups)) == 7
    assert again.finish(NAMES).counts.records == 6


def test_failures_beside_a_record_stay_failures(tmp_path: Path) -> None:
    """One of 7 is answered, so the others' refusals are theirs: the stage ends, and none is asked twice."""
    check_reached(run(tmp_path, ScriptedModel(lambda r: echo(r) if r.prompt == "0" else REFUSED)), len(ITEMS))
    model = ScriptedModel()
    assert run(tmp_path, model).finish(NAMES).counts.failures == 6
    assert model.groups == []


@pytest.mark.parametrize(
    "left", [Failure(reason="not_harmful", message="", dropped=True), Failure(reason="unscored", message="")]
)
def test_what_a_rule_left_out_or_a_judge_cannot_tell_is_an_end(tmp_path: Path, left: Failure) -> None:
    check_reached(run(tmp_path, ScriptedModel(lambda _: left)), len(ITEMS))


def test_a_judge_whose_server_refuses_everything_does_not_finish_its_stage(tmp_path: Path) -> None:
    refusing = ScriptedModel(lambda _: REFUSED)
    judge = RubricJudge(StoredModel(refusing, CallStore(tmp_path / "calls.sqlite")), "judge", Manner(64))
    stage = StageDirectory(tmp_path / "labels", {}, {})
    items = [(f"item {number}", str(number)) for number in range(3)]

    def exchange(text: str) -> Exchange:
        return Exchange(text, text, True)

    def note(item: str, opinion: Opinion) -> Note:
        return Note(text=opinion.rationale)

    with pytest.raises(RunError, match="Stage labels: none of 3 items has a result"):
        asyncio.run(judge_items(stage, dict(items), judge, exchange, judge.label, note))
