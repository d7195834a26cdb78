"""Shelves: records by name and in order, read from the file when they are asked for."""

import tracemalloc
from pathlib import Path

import pytest

from spavl.records import Failure, Response
from spavl.store import Outcome, StageDirectory

GONE = Failure(reason="server_error", message="placeholder")


def response(number: int, text: str = "placeholder answer") -> Response:
    return Response(
        question_id=f"que-{number}", image_id="img-1", responder="r", text=f"{text} {number}", finish="stop"
    )


def stage_of(folder: Path, *outcomes: Response | Failure) -> StageDirectory:
    """A stage whose items are numbered from 0."""
    stage = StageDirectory(folder / "responses", {}, {})
    for number, one in enumerate(outcomes):
        failure, record = (one, None) if isinstance(one, Failure) else (None, one)
        stage.append([Outcome(str(number), record=record, failure=failure)])
    stage.finish([str(number) for number in range(len(outcomes))])
    return stage


def test_a_shelf_is_a_mapping_of_its_records_in_their_order(tmp_path: Path) -> None:
    made = [response(number) for number in (2, 0, 1)]
    shelf = stage_of(tmp_path, made[0], GONE, *made[1:]).shelf(Response)
    assert dict(shelf) == {one.id: one for one in made}
    assert list(shelf) == [one.id for one in made]
    assert (list(shelf.values()), len(shelf)) == (made, 3)
    assert made[1].id in shelf and "res-0" not in shelf and 0 not in shelf
    with pytest.raises(KeyError, match="res-0"):
        shelf["res-0"]


def test_records_are_found_by_any_of_their_fields(tmp_path: Path) -> None:
    made = [response(number) for number in range(3)]
    assert stage_of(tmp_path, *made).shelf(Response, by="question_id")["que-1"] == made[1]


def test_of_several_lines_of_one_name_the_first_counts_and_all_are_listed(tmp_path: Path) -> None:
    one, other = response(1), response(2)
    shelf = stage_of(tmp_path, one, other, one).shelf(Response)
    assert list(shelf) == [one.id, other.id]
    assert list(shelf.lines()) == [one.id, other.id, one.id]
    assert len(shelf) == 2


def test_a_line_longer_than_what_is_read_at_once_is_read_whole(tmp_path: Path) -> None:
    """Lines of 20, 2 and 300 kB."""
    made = [response(number, "x" * size) for number, size in enumerate((20_000, 2_000, 300_000))]
    shelf = stage_of(tmp_path, *made).shelf(Response)
    assert [shelf[one.id] for one in reversed(made)] == made[::-1]


def test_outcomes_are_found_by_item_records_and_failures_alike(tmp_path: Path) -> None:
    made = response(1)
    outcomes = stage_of(tmp_path, made, GONE).outcomes(Response)
    assert dict(outcomes) == {"0": made, "1": GONE}
    assert outcomes.get("2") is None


def test_a_stage_without_a_line_has_an_empty_shelf(tmp_path: Path) -> None:
    stage = StageDirectory(tmp_path / "responses", {}, {})
    assert dict(stage.shelf(Response)) == {}


def test_what_a_shelf_holds_does_not_grow_with_its_texts(tmp_path: Path) -> None:
    """2,000 records of 5 kB are 10 MB; read by name one after the other, what is held stays under a fifth of that.

    Of those read lately 256 are kept, which are 1.3 MB.
    """
    made = [response(number, "x" * 5_000) for number in range(2_000)]
    names = [one.id for one in made]
    stage = stage_of(tmp_path, *made)
    del made
    tracemalloc.start()
    shelf = stage.shelf(Response)
    assert all(shelf[name].responder == "r" for name in names)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000
