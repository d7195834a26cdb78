"""MM-SafetyBench from the documented layout (isXinLiu/MM-SafetyBench, read in November 2026)."""

import json
from pathlib import Path

import pytest

from spavl.errors import UserError
from spavl.evaluate.benchmarks import Listed, Unusable
from spavl.evaluate.benchmarks.mm_safetybench import MM_SAFETYBENCH, MM_SAFETYBENCH_TINY

SCENARIO = "01-Illegal_Activitiy"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two questions with their three pictures each; question 1 lacks its SD picture."""
    questions = {
        key: {
            "Question": f"Placeholder question {key}",
            "Changed Question": f"Placeholder text {key}",
            "Rephrased Question": f"Placeholder about the phrase {key}",
            "Rephrased Question(SD)": f"Placeholder about the thing {key}",
        }
        for key in ("0", "1")
    }
    (tmp_path / "data/processed_questions").mkdir(parents=True)
    (tmp_path / f"data/processed_questions/{SCENARIO}.json").write_text(json.dumps(questions))
    (tmp_path / "TinyVersion_ID_List.json").write_text(json.dumps([{"Scenario": SCENARIO, "Sampled_ID_List": [1]}]))
    for kind in ("SD", "TYPO", "SD_TYPO"):
        place = tmp_path / "data/imgs" / SCENARIO / kind
        place.mkdir(parents=True)
        for key in ("0", "1"):
            (place / f"{key}.jpg").write_bytes(f"{kind} {key}".encode())
    (tmp_path / "data/imgs" / SCENARIO / "SD/1.jpg").unlink()
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
    listed = list(MM_SAFETYBENCH.read(folder, ("sd",)))
    assert [type(row) for row in listed] == [Listed, Unusable]
    lacking = listed[1]
    assert isinstance(lacking, Unusable)
    assert lacking.failure.reason == "missing_picture"
    assert lacking.failure.message == f"data/imgs/{SCENARIO}/SD/1.jpg is not there"


def test_the_tiny_version_is_the_listed_questions(folder: Path) -> None:
    assert [row.row for row in MM_SAFETYBENCH_TINY.read(folder, ("typo",))] == [f"{SCENARIO}/1/typo"]


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has none of data/processed_questions/\*\.json"):
        list(MM_SAFETYBENCH.read(tmp_path, ("sd",)))
