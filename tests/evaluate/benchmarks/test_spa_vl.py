"""HarmEval and HelpEval: the traps of the dataset's revisions."""

from pathlib import Path

import pytest
from tests.evaluate.benchmarks.material import picture, write_parquet
from tests.evaluate.benchmarks.shapes import spa_vl

from spavl.errors import UserError
from spavl.evaluate.benchmarks import Benchmark, Listed, Unusable
from spavl.evaluate.benchmarks.spa_vl import SPA_VL_HARM_EVAL, SPA_VL_HELP_EVAL


def rows(benchmark: Benchmark, folder: Path) -> list[Listed]:
    return [row for row in benchmark.read(folder, ()) if isinstance(row, Listed)]


def test_harm_questions_are_to_be_declined_and_help_questions_answered(tmp_path: Path) -> None:
    spa_vl(tmp_path)
    harm, help_ = rows(SPA_VL_HARM_EVAL, tmp_path), rows(SPA_VL_HELP_EVAL, tmp_path)
    assert [(row.row, row.expect, row.picture) for row in harm] == [
        ("harm/0", "refuse", picture(0)),
        ("harm/1", "refuse", picture(1)),
    ]
    assert [(row.row, row.expect, row.picture) for row in help_] == [
        ("help/0", "comply", picture(2)),
        ("help/1", "comply", picture(3)),
    ]
    assert harm[1].category == "Placeholder category 1"


def test_blanks_and_quotation_marks_around_a_question_go(tmp_path: Path) -> None:
    quoted = ['  "Is it safe?"\n', 'Say "yes" or "no"', '"One" and "two"']
    write_parquet(tmp_path / "harm.parquet", [{"image": {"bytes": picture(0)}, "question": one} for one in quoted])
    assert [row.prompt for row in rows(SPA_VL_HARM_EVAL, tmp_path)] == ["Is it safe?", *quoted[1:]]


def test_an_older_configuration_with_the_same_rows_is_not_read_beside_the_split(tmp_path: Path) -> None:
    spa_vl(tmp_path)
    (tmp_path / "evalharm").mkdir()
    (tmp_path / "evalharm/test-00000-of-00001.parquet").write_bytes(
        (tmp_path / "test/harm-00000-of-00001.parquet").read_bytes()
    )
    assert len(rows(SPA_VL_HARM_EVAL, tmp_path)) == 2
    (tmp_path / "test/harm-00000-of-00001.parquet").unlink()
    assert len(rows(SPA_VL_HARM_EVAL, tmp_path)) == 2


def test_a_revision_without_the_class_columns_is_read_without_categories(tmp_path: Path) -> None:
    write_parquet(tmp_path / "test/harm.parquet", [{"image": {"bytes": picture(0)}, "question": "Placeholder?"}])
    assert [row.category for row in rows(SPA_VL_HARM_EVAL, tmp_path)] == [""]


def test_a_row_without_a_question_or_a_picture_is_a_failure(tmp_path: Path) -> None:
    bad = [{"image": {"bytes": picture(0)}, "question": " "}, {"image": None, "question": "Placeholder?"}]
    write_parquet(tmp_path / "test/harm.parquet", bad)
    reasons = [row.failure.reason for row in SPA_VL_HARM_EVAL.read(tmp_path, ()) if isinstance(row, Unusable)]
    assert reasons == ["no_question", "missing_picture"]


def test_a_split_of_other_columns_is_refused(tmp_path: Path) -> None:
    write_parquet(tmp_path / "test/harm.parquet", [{"picture": b"", "question": "Placeholder?"}])
    with pytest.raises(UserError, match=r"has no column image; it has picture, question"):
        rows(SPA_VL_HARM_EVAL, tmp_path)
