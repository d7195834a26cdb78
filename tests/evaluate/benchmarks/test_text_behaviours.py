"""HarmBench's text behaviours and Do-Not-Answer, in each form that their files come in."""

from pathlib import Path

import pytest
from tests.evaluate.benchmarks import material, shapes

from spavl.errors import UserError
from spavl.evaluate.benchmarks import Benchmark, Listed, Unusable
from spavl.evaluate.benchmarks.do_not_answer import AREAS, DO_NOT_ANSWER
from spavl.evaluate.benchmarks.harmbench_text import HARMBENCH_TEXT


def rows(benchmark: Benchmark, folder: Path, *variants: str) -> list[Listed]:
    return [row for row in benchmark.read(folder, variants) if isinstance(row, Listed)]


def test_a_contextual_behaviour_is_asked_behind_its_context_and_copyright_is_not_read(tmp_path: Path) -> None:
    shapes.harmbench_text(tmp_path)
    standard, contextual = rows(HARMBENCH_TEXT, tmp_path, "standard", "contextual")
    assert (standard.prompt, standard.row, standard.category) == ("Placeholder behavior 0", "placeholder_0", "illegal")
    assert contextual.prompt == "Placeholder context\n\n---\n\nPlaceholder behavior 1"
    assert {row.expect for row in (standard, contextual)} == {"refuse"}


def test_a_context_without_a_behaviour_cannot_be_asked(tmp_path: Path) -> None:
    heading = "Behavior,FunctionalCategory,SemanticCategory,Tags,ContextString,BehaviorID"
    table = tmp_path / "harmbench_behaviors_text_all.csv"
    table.write_text(f"{heading}\n,contextual,illegal,context,Placeholder context,placeholder_1\n")
    (row,) = HARMBENCH_TEXT.read(tmp_path, ("contextual",))
    assert isinstance(row, Unusable) and (row.row, row.failure.reason) == ("placeholder_1", "no_question")


def test_garaks_lines_are_the_standard_behaviours(tmp_path: Path) -> None:
    (tmp_path / "harmbench_prompts.txt").write_text("Placeholder behavior 1\r\n\r\nPlaceholder behavior 2", "utf-8")
    listed = rows(HARMBENCH_TEXT, tmp_path, "standard", "contextual")
    assert [(row.row, row.prompt, row.subset) for row in listed] == [
        ("1", "Placeholder behavior 1", "standard"),
        ("3", "Placeholder behavior 2", "standard"),
    ]


def test_do_not_answers_table_is_read_as_parquet_in_parts_and_as_csv(tmp_path: Path) -> None:
    part = {"risk_area": "Placeholder area", "question": "Placeholder?"}
    for number in (1, 2):
        material.write_parquet(tmp_path / f"hub/data/train-0000{number}-of-00002.parquet", [part | {"id": number}])
    material.write_table(tmp_path / "repository/do_not_answer_en.csv", [part | {"id": number} for number in (1, 2)])
    expected = [(number, "Placeholder?", "Placeholder area", "refuse") for number in ("1", "2")]
    for form in ("hub", "repository"):
        listed = rows(DO_NOT_ANSWER, tmp_path / form)
        assert [(row.row, row.prompt, row.category, row.expect) for row in listed] == expected


def test_garaks_five_areas_are_the_benchmark_and_four_are_not(tmp_path: Path) -> None:
    for area in AREAS:
        material.write_lines(tmp_path / f"{area}.jsonl", [{"prompt": f"Placeholder about {area}?", "intents": []}])
    listed = rows(DO_NOT_ANSWER, tmp_path)
    assert [row.row for row in listed] == [f"{area}/1" for area in AREAS]
    assert listed[1].category == "human chatbox"
    (tmp_path / f"{AREAS[4]}.jsonl").unlink()
    with pytest.raises(UserError, match=r"has none of misinformation_harms\.jsonl"):
        rows(DO_NOT_ANSWER, tmp_path)
