"""Clean datasets: what lies beside the rows is of the rows that stay, and they can be published."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.dataset.preference_rows import trl_row, write_rows
from tests.dataset.test_dataset import built

from spavl.dataset.clean import FOUND, TAKEN_DOWN, forget_pictures, write_clean
from spavl.dataset.push import prepare

FILE = "data/train-00000-of-00001.parquet"


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    """A built dataset (a training pair, a validation pair, a benign question) without its training pair."""
    return write_clean(built(tmp_path), tmp_path / "dataset-clean", {f"{FILE}#0"}).folder


def known(folder: Path) -> set[str]:
    return {one["image_id"] for one in json.loads((folder / "meta_files/image_info/meta.json").read_text())}


def shown(folder: Path) -> set[str]:
    return {row["image_id"] for path in folder.rglob("*.parquet") for row in pq.read_table(path).to_pylist()}


def test_a_clean_dataset_is_described_by_its_own_rows_and_may_be_published(clean: Path) -> None:
    upload = prepare(clean)
    assert upload.rows == 2 and "meta_files/image_info/meta.json" in upload.files
    card = (clean / "README.md").read_text()
    assert card.startswith("---\nconfigs:\n- config_name: default\n")
    assert "2 rows about 2 pictures; 1 of them are preference pairs." in card
    assert FOUND.format(removed=1, rows=3) in card
    assert known(clean) == shown(clean) and len(known(clean)) == 2


def test_pictures_are_forgotten_where_the_clean_dataset_lies_and_once_is_enough(clean: Path) -> None:
    gone = pq.read_table(clean / FILE.replace("train", "validation"))["image_id"].to_pylist()[0]
    assert forget_pictures(clean, {gone}) == 1
    card = (clean / "README.md").read_text()
    assert "1 rows about 1 pictures; 0 of them" in card
    assert FOUND.format(removed=1, rows=3) in card and card.count(TAKEN_DOWN) == 1
    assert gone not in shown(clean) == known(clean) and prepare(clean).rows == 1
    assert forget_pictures(clean, {gone}) == 0
    assert (clean / "README.md").read_text() == card


def test_no_row_and_no_picture_may_be_left(clean: Path) -> None:
    assert forget_pictures(clean, shown(clean)) == 2
    assert shown(clean) == set() and not (clean / "meta_files/image_info/meta.json").exists()
    assert prepare(clean).rows == 0


def test_the_hubs_counts_of_all_rows_are_not_said_of_those_that_stay(tmp_path: Path) -> None:
    dataset = write_rows(tmp_path / "data", [trl_row(0), trl_row(1)])
    (dataset / "README.md").write_text("---\nlicense: mit\nsize_categories:\n- n<1K\n---\n# 2 rows\n")
    clean = write_clean(dataset, tmp_path / "clean", {"train-00000-of-00001.parquet#1"}).folder
    card = (clean / "README.md").read_text()
    assert card.startswith("---\nlicense: mit\n---\n\n# clean\n") and "# 2 rows" not in card
    assert "1 rows about 1 pictures; 1 of them" in card and prepare(clean).rows == 1


def test_rows_without_pictures_are_left_out_and_not_described(tmp_path: Path) -> None:
    dataset = write_rows(tmp_path / "data", [{"prompt": "placeholder one"}, {"prompt": "placeholder two"}])
    clean = write_clean(dataset, tmp_path / "clean", {"train-00000-of-00001.parquet#1"}).folder
    assert "## What is in it" not in (clean / "README.md").read_text() and prepare(clean).rows == 1
