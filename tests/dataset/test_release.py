"""SPA-VL's release, as a replica of 200 rows: read with classes and types from its meta files."""

import json
from collections import Counter
from pathlib import Path

import pytest
from tests.dataset.spa_vl_release import LEAVES, TAGS, classes_of, write_release
from tests.dataset.test_read import Reading, complaint

from spavl.dataset import find_split
from spavl.recipe_config import DataConfig
from spavl.taxonomy import load_taxonomy

META = Path("meta_files")


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return write_release(tmp_path / "SPA-VL")


def test_training_rows_get_their_classes_types_and_rationales_from_the_meta_files(
    release: Path, tmp_path: Path
) -> None:
    """200 rows: 67, 67 and 66 of each type; rows 0 to 2 are about the first picture, of the first leaf."""
    read = Reading(release, tmp_path / "run", meta_files=META)
    assert len(read.pairs) == 200
    assert Counter(one.question_type for one in read.pairs) == {
        "easy_question": 67,
        "hard_question": 67,
        "hard_statement": 66,
    }
    assert [one.leaf for one in read.pairs] == ["/".join(classes_of(row // 3).values()) for row in range(200)]
    assert read.pairs[1].rationales == ("first hardq", "second hardq")
    assert read.pairs[0].question == '"placeholder easy text about scene 0"'
    assert read.pairs[0].image_id == read.pairs[2].image_id != read.pairs[3].image_id
    facts = read.manifest.facts
    assert (facts["pairs_with_classes"], facts["pairs_with_question_type"], facts["pictures"]) == (200, 200, 67)
    assert len(facts["meta_files"]) == 7


def test_half_a_character_in_a_rationale_is_shown_as_unreadable(release: Path, tmp_path: Path) -> None:
    path = release / META / "prefer" / "easy.json"
    path.write_text(path.read_text().replace("first easy", "first \\ud83d easy"))
    assert Reading(release, tmp_path / "run", meta_files=META).pairs[0].rationales[0] == "first \ufffd easy"


def test_the_classes_are_leaves_of_the_taxonomy_as_the_release_spells_them() -> None:
    known = {leaf.path for leaf in load_taxonomy("spa_vl").leaves}
    assert {"/".join(leaf) for leaf in LEAVES} <= known


def test_without_meta_files_the_rows_are_read_without_classes(release: Path, tmp_path: Path) -> None:
    read = Reading(release, tmp_path / "run")
    assert len(read.pairs) == 200
    assert {(one.leaf, one.question_type) for one in read.pairs} == {("", None)}
    assert read.manifest.facts["meta_files"] == []


def test_validation_rows_carry_their_classes_and_have_no_name(release: Path, tmp_path: Path) -> None:
    read = Reading(release, tmp_path / "run", split="validation", meta_files=META)
    assert len(read.pairs) == 20
    assert read.pairs[0].leaf == "/".join(classes_of(200 // 3).values())


def test_names_with_class_folders_and_pictures_without_names_are_joined_too(release: Path, tmp_path: Path) -> None:
    """The first picture's entry has the folders of an older layout, the second's another name and the same MD5."""
    path = release / META / "image_info" / "meta.json"
    entries = json.loads(path.read_text())
    entries[0]["image"] = "Malicious Use/theft/0.jpg"
    entries[1]["image"] = "renamed.jpg"
    del entries[2]
    path.write_text(json.dumps({entry.pop("image"): entry for entry in entries}))
    read = Reading(release, tmp_path / "run", meta_files=META, limit=9)
    assert [bool(one.leaf) for one in read.pairs] == 6 * [True] + 3 * [False]
    assert read.manifest.facts["pairs_with_classes"] == 6


def test_a_question_of_two_types_has_none(release: Path, tmp_path: Path) -> None:
    for part in ("split", "prefer"):
        first = json.loads((release / META / part / "easy.json").read_text())[0]
        path = release / META / part / "hards.json"
        path.write_text(json.dumps([first, *json.loads(path.read_text())]))
    read = Reading(release, tmp_path / "run", meta_files=META, limit=3)
    assert [one.question_type for one in read.pairs] == [None, "hard_question", "hard_statement"]


def test_the_codes_name_of_hard_statements_is_known(release: Path, tmp_path: Path) -> None:
    for part in ("split", "prefer"):
        (release / META / part / "hards.json").rename(release / META / part / "hardd.json")
    read = Reading(release, tmp_path / "run", meta_files=META, limit=3)
    assert read.pairs[2].question_type == "hard_statement"


def test_a_split_in_two_folders_is_refused_and_each_can_be_given(release: Path, tmp_path: Path) -> None:
    """Some revisions have validation under two configurations, with the same rows."""
    copy = (release / "validation" / "validation-00000-of-00001.parquet").read_bytes()
    (release / "data" / "validation-00000-of-00001.parquet").write_bytes(copy)
    assert "several folders" in complaint(release, tmp_path / "run", split="validation")
    one = DataConfig(path=str(release / "validation"), split="validation")
    assert find_split(one).rows == 20


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("gone", ["data.meta_files", "image_info/meta.json", "leave it out"]),
        ("torn", ["meta_files", "hardq.json cannot be read"]),
        ("text", ["meta_files", "easy.json is no list of objects"]),
    ],
)
def test_meta_files_that_cannot_be_joined_are_one_clear_error(
    release: Path, tmp_path: Path, case: str, words: list[str]
) -> None:
    if case == "gone":
        (release / META / "image_info" / "meta.json").unlink()
    if case == "torn":
        (release / META / "split" / "hardq.json").write_text('[{"image": ')
    if case == "text":
        (release / META / "prefer" / f"{TAGS[0]}.json").write_text('["text"]')
    text = complaint(release, tmp_path / "run", meta_files=META)
    assert all(word in text for word in words), text
