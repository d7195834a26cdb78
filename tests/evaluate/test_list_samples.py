"""Rows become samples: what is shown with each, which are taken within a limit, and what is counted as skipped."""

from pathlib import Path
from typing import Any

import pytest
from tests.dataset.preference_rows import png

from spavl.errors import UserError
from spavl.evaluate.benchmarks import Benchmark, BenchmarkCard, Listed, Unusable
from spavl.evaluate.benchmarks.multiple_choice import MMBENCH_CARD
from spavl.evaluate.benchmarks.xstest import CARD
from spavl.evaluate.list_samples import Coverage, Source, list_samples, of_published
from spavl.evaluate.pictures import ablated, derangement
from spavl.evaluation_config import BenchmarkConfig
from spavl.records import Failure, Sample
from spavl.store import ImageStore, StageDirectory


def row(number: int, **fields: Any) -> Listed:
    fields = {"row": str(number), "prompt": f"Placeholder question {number}?", "expect": "refuse"} | fields
    return Listed(**fields)


def listed(
    folder: Path, rows: list[Listed | Unusable], card: BenchmarkCard = CARD, **config: Any
) -> tuple[list[Sample], Coverage, StageDirectory]:
    source = Source(
        Benchmark(card, lambda *_: iter(rows)), folder, BenchmarkConfig(name="xstest", path=str(folder), **config)
    )
    stage = StageDirectory(folder / "samples", {}, {})
    manifest = list_samples([source], ImageStore(folder / "pictures"), 7, stage)
    assert manifest.counts.items == manifest.counts.records + manifest.counts.failures
    return stage.records(Sample), Coverage.model_validate(manifest.facts["coverage"]["xstest"]), stage


def test_every_row_is_a_sample_or_counted_with_its_reason(tmp_path: Path) -> None:
    rows = [
        row(0, picture=png(0)),
        row(1, picture=b"no picture"),
        Unusable("2", Failure(reason="missing_picture", message="gone")),
        row(3),
        row(3, prompt="Another placeholder?"),
        row(4, prompt="Placeholder question 3?"),
        row(5, prompt="  "),
    ]
    samples, coverage, stage = listed(tmp_path, rows)
    assert [sample.row for sample in samples] == ["0", "3"] and samples[0].image_id and not samples[1].image_id
    assert coverage.skipped == {"duplicate_row": 2, "missing_picture": 1, "no_question": 1, "unreadable": 1}
    assert (coverage.listed, coverage.asked, coverage.samples, coverage.pictures) == (7, 7, 2, 1)
    assert "the same picture and question as row 3" in stage.failures()["xstest/4"].message


def test_a_row_with_half_a_character_is_counted_wherever_that_stands(tmp_path: Path) -> None:
    """JSON has it as an escape, and no file and no request does: of six rows the one with a whole emoji is asked."""
    gone = Failure(reason="missing_picture", message="\ud83d.png is not there")
    rows: list[Listed | Unusable] = [
        row(0, prompt="Placeholder \ud83d?"),
        row(1, row="\ud83d"),
        row(2, cluster="\ud83d"),
        row(3, choices=("this", "\ud83d"), references=("A",)),
        Unusable("4\ud83d", gone),
        row(5, prompt="Placeholder \U0001f600?"),
    ]
    samples, coverage, stage = listed(tmp_path, rows, limit=6)
    assert [sample.row for sample in samples] == ["5"]
    assert coverage.skipped == {"broken_text": 4, "missing_picture": 1} and coverage.listed == 6
    assert "'Placeholder \ufffd?'" in stage.failures()["xstest/0"].message


def test_a_file_is_decoded_once_for_all_rows_about_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one.png").write_bytes(png(1))
    added: list[Path | bytes] = []
    add = ImageStore.add
    monkeypatch.setattr(ImageStore, "add", lambda store, picture: added.append(picture) or add(store, picture))
    files = [row(n, picture=tmp_path / "one.png") for n in range(3)]
    rows = [*files, row(3, picture=png(2)), row(4, picture=png(2)), *(row(n, picture=b"broken") for n in (5, 6))]
    samples, coverage, _ = listed(tmp_path, rows)
    assert [one.image_id for one in samples] == [samples[0].image_id] * 3 + [samples[3].image_id] * 2
    assert len(added) == 4 and coverage.skipped == {"unreadable": 2}


@pytest.mark.parametrize("picture", ["blank", "noise"])
def test_a_picture_that_stands_in_ties_no_samples_together(tmp_path: Path, picture: str) -> None:
    samples, coverage, _ = listed(tmp_path, [row(0), row(1), row(2, picture=png(0))], picture=picture)
    assert samples[0].image_id == samples[1].image_id and samples[0].stand_in == picture
    assert samples[2].own_picture and not samples[0].own_picture
    assert len({sample.unit for sample in samples}) == 3 and coverage.pictures == 1


def test_without_pictures_is_without_all(tmp_path: Path) -> None:
    samples, _, _ = listed(tmp_path, [row(0, picture=png(0))], picture="none")
    assert not samples[0].image_id


def test_a_limit_takes_subsets_in_turn_and_keeps_variants_of_a_question_together(tmp_path: Path) -> None:
    """Ten questions in two variants, six rows: three of each, about the same three questions."""
    rows: list[Listed | Unusable] = [
        row(number, row=f"{number}/{kind}", prompt=f"{kind} {number}?", subset=kind, cluster=str(number))
        for number in range(10)
        for kind in ("text", "typo")
    ]
    samples, coverage, _ = listed(tmp_path, rows, limit=6)
    by_kind = {kind: {one.cluster for one in samples if one.subset == kind} for kind in ("text", "typo")}
    assert by_kind["text"] == by_kind["typo"] and len(by_kind["text"]) == 3
    assert (coverage.listed, coverage.asked) == (20, 6)


def turned(question: int, turn: int, **fields: Any) -> Listed:
    choices = ("this", "that", "those")
    fields = {"subset": "rotated" if turn else "published", "cluster": str(question), "expect": "choose"} | fields
    prompt = f"Placeholder question {question}, order {turn}?"
    return row(question, row=f"{question}/{turn}", prompt=prompt, choices=choices, **fields)


def test_questions_that_lack_an_order_are_counted(tmp_path: Path) -> None:
    """Of three orders each, question 0 has all; 1 has two and a broken picture; 2 has the published one alone."""
    rows: list[Listed | Unusable] = [turned(0, 0), turned(0, 1), turned(0, 2), turned(1, 0), turned(1, 1)]
    rows += [turned(1, 2, picture=b"broken"), turned(2, 0)]
    samples, coverage, _ = listed(tmp_path, rows, MMBENCH_CARD)
    assert (len(samples), coverage.missing_orders) == (6, 2)
    assert coverage.left_out == {"unreadable": 1, "missing_order": 2}
    assert listed(tmp_path / "plain", rows)[1].missing_orders == 0


def test_a_limit_takes_whole_questions_where_their_orders_count_together(tmp_path: Path) -> None:
    """Of five questions in three orders each, six rows are two whole questions."""
    rows: list[Listed | Unusable] = [turned(question, turn) for question in range(5) for turn in range(3)]
    samples, coverage, _ = listed(tmp_path, rows, MMBENCH_CARD, limit=6)
    assert len({one.cluster for one in samples}) == 2 and coverage.left_out == {}


def test_a_benchmark_of_which_nothing_can_be_asked_is_refused_before_anybody_is_asked(tmp_path: Path) -> None:
    rows: list[Listed | Unusable] = [row(0, picture=b"broken"), row(1, prompt=" ")]
    with pytest.raises(UserError, match=r"xstest: none of 2 rows .* \(no_question 1, unreadable 1\)"):
        listed(tmp_path, rows)
    with pytest.raises(UserError, match=r"none of 0 rows .* \(it lists none\)"):
        listed(tmp_path / "empty", [])


def test_a_folder_with_a_file_fixture_is_made_up(tmp_path: Path) -> None:
    (tmp_path / "FIXTURE").touch()
    assert listed(tmp_path, [row(0)])[1].fixture


def test_shuffling_gives_every_picture_another_one_once() -> None:
    pictures = [f"picture {number}" for number in range(5)]
    swapped = derangement(pictures, 3)
    assert sorted(swapped.values()) == sorted(swapped) == pictures
    assert all(one != other for one, other in swapped.items())
    assert derangement(["alone", "alone"], 3) == {}


def test_a_benchmark_with_one_picture_cannot_be_shuffled(tmp_path: Path) -> None:
    samples, _, _ = listed(tmp_path, [row(0, picture=png(0)), row(1, picture=png(0)), row(2)])
    store = ImageStore(tmp_path / "pictures")
    assert ablated("shuffled", samples, store, 0)[0] == []
    blank, show = ablated("blank", samples, store, 0)
    shown = show(blank[0])
    assert len(blank) == 2 and shown is not None and shown.sha256 != blank[0].image_id and shown.path.is_file()


def test_other_rows_than_the_published_ones_are_said_to_be_other(tmp_path: Path) -> None:
    """XSTest has 250 safe and 200 unsafe prompts; one row is listed. Of MMBench nobody says the number exactly."""
    assert listed(tmp_path / "all", [row(0)])[1].published == 450
    assert listed(tmp_path / "unsafe", [row(0)], variants=("unsafe",))[1].published == 200
    assert listed(tmp_path / "other", [turned(0, 0)], MMBENCH_CARD)[1].published is None
    assert of_published(12, 520) == " of the 520 rows that the benchmark has"
    assert of_published(520, 520) == of_published(12, None) == ""
