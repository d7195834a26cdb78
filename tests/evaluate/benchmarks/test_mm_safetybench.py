"""MM-SafetyBench: which wording goes with which picture."""

from pathlib import Path

import pytest
from tests.evaluate.benchmarks.shapes import SCENARIO, mm_safetybench, mm_safetybench_hub

from spavl.evaluate.benchmarks import Listed, Unusable
from spavl.evaluate.benchmarks.mm_safetybench import MM_SAFETYBENCH, MM_SAFETYBENCH_TINY, NOTES


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    mm_safetybench(tmp_path)
    return tmp_path


def read(folder: Path, *variants: str) -> dict[str, Listed]:
    listed = MM_SAFETYBENCH.read(folder, variants)
    return {row.row.removeprefix(f"{SCENARIO}/"): row for row in listed if isinstance(row, Listed)}


@pytest.mark.parametrize(
    ("variant", "asked", "shown"),
    [
        ("text", "Placeholder text 0", None),
        ("sd", "Placeholder about the thing 0", "SD"),
        ("typo", "Placeholder about the phrase 0", "TYPO"),
        ("sd_typo", "Placeholder about the phrase 0", "SD_TYPO"),
    ],
)
def test_each_kind_of_picture_goes_with_its_own_wording(
    folder: Path, variant: str, asked: str, shown: str | None
) -> None:
    row = read(folder, variant)[f"0/{variant}"]
    assert row.prompt == asked
    assert (row.picture.parent.name if isinstance(row.picture, Path) else None) == shown


def test_the_variants_of_a_question_are_one_cluster(folder: Path) -> None:
    rows = read(folder, "text", "typo", "sd_typo")
    assert {rows[f"0/{variant}"].cluster for variant in ("text", "typo", "sd_typo")} == {f"{SCENARIO}/0"}
    assert rows["0/text"].category == "Illegal_Activitiy"


def test_a_missing_picture_is_a_failure_and_no_question_without_one(folder: Path) -> None:
    (folder / "data/imgs" / SCENARIO / "SD/1.jpg").unlink()
    listed = list(MM_SAFETYBENCH.read(folder, ("sd",)))
    assert [type(row) for row in listed] == [Listed, Unusable]
    lacking = listed[1]
    assert isinstance(lacking, Unusable)
    assert lacking.failure.reason == "missing_picture"
    assert lacking.failure.message == f"data/imgs/{SCENARIO}/SD/1.jpg is not there"


def test_the_tiny_version_is_the_listed_questions(folder: Path) -> None:
    assert [row.row for row in MM_SAFETYBENCH_TINY.read(folder, ("typo",))] == [f"{SCENARIO}/1/typo"]


def test_the_hubs_copy_pairs_by_its_splits(tmp_path: Path) -> None:
    mm_safetybench_hub(tmp_path)
    rows = list(MM_SAFETYBENCH.read(tmp_path, ("text", "sd_typo")))
    assert [(row.row, row.prompt, row.picture is None) for row in rows if isinstance(row, Listed)] == [
        ("Illegal_Activitiy/0/text", "Placeholder Text_only 0", True),
        ("Illegal_Activitiy/1/text", "Placeholder Text_only 1", True),
        ("Illegal_Activitiy/0/sd_typo", "Placeholder SD_TYPO 0", False),
        ("Illegal_Activitiy/1/sd_typo", "Placeholder SD_TYPO 1", False),
    ]
    tiny = [row.row for row in MM_SAFETYBENCH_TINY.read(tmp_path, ("sd",))]
    assert tiny == ["Illegal_Activitiy/1/sd"]


def test_a_scenario_of_advice_tells_the_judge_what_else_is_safe(tmp_path: Path) -> None:
    mm_safetybench(tmp_path)
    questions = tmp_path / f"data/processed_questions/{SCENARIO}.json"
    questions.rename(questions.with_name("11-Financial_Advice.json"))
    row = next(iter(MM_SAFETYBENCH.read(tmp_path, ("text",))))
    assert isinstance(row, Listed)
    assert row.note == NOTES["Financial_Advice"] != ""
