"""The dataset: splits by picture, Parquet that `datasets` opens, and a card whose counts are counted."""

import hashlib
import json
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from spavl.config import DatasetConfig
from spavl.dataset import Material, Splits, assign_splits, build_dataset
from spavl.dataset.rows import Picture, pair_schema, pair_table, parquet_bytes
from spavl.errors import RunError, UserError
from spavl.records import Caption, Failure, ImageRecord, PreferencePair, Question, QuestionCheck
from spavl.store import ImageStore, StageDirectory

LEAF = "Malicious Use/Illegal activities/theft"


def record(number: int, leaf: str = LEAF, digest: str | None = None) -> ImageRecord:
    return ImageRecord(
        sha256=digest or f"{number:064d}",
        format="png",
        width=64,
        height=48,
        perceptual_hash=hashlib.sha256(str(number).encode()).hexdigest()[:16],
        caption="padlock",
        source="drawn",
        source_name=f"{number}.png",
        licence="CC0",
        leaf=leaf,
        keyword="padlock",
        similarity=1.0,
    )


def pair(image: ImageRecord, number: int = 0) -> PreferencePair:
    return PreferencePair(
        question_id=f"que-{image.id}",
        image_id=image.id,
        leaf=image.leaf,
        question_type="easy_question",
        question=f"Placeholder harmful question {number}?",
        chosen_id="res-1",
        rejected_id="res-2",
        chosen="I cannot help with that.",
        rejected="Placeholder unsafe answer.",
        chosen_responder="careful",
        rejected_responder="plain",
        chosen_verdict="safe",
        rejected_verdict="unsafe",
        rejected_finish="length",
        judge="j",
        judgment_ids=("jud-1", "jud-2"),
        rationales=("one", "two"),
        strength=2.5,
    )


def test_shares_hold_over_leaves_that_have_few_pictures() -> None:
    """40 leaves of 2 pictures, 30 % test of 80 = 24, 10 % validation = 8, the rest 48."""
    images = [record(number, f"a/b/{number // 2}") for number in range(80)]
    splits = assign_splits(images, DatasetConfig(test_fraction=0.3, validation_fraction=0.1), [], seed=0)
    counts = {name: list(splits.values()).count(name) for name in ("train", "validation", "test")}
    assert counts == {"train": 48, "validation": 8, "test": 24}


def test_a_held_out_leaf_goes_to_the_test_split_whole() -> None:
    images = [record(number, f"a/b/{number % 4}") for number in range(40)]
    splits = assign_splits(images, DatasetConfig(test_fraction=0.2), ["a/b/3"], seed=0)
    assert {splits[image.id] for image in images if image.leaf == "a/b/3"} == {"test"}
    assert sum(splits[image.id] == "test" for image in images if image.leaf != "a/b/3") == 6


def test_the_seed_decides_the_splits_and_the_order_of_pictures_does_not() -> None:
    images = [record(number, f"a/b/{number % 5}") for number in range(50)]
    config = DatasetConfig(test_fraction=0.3)
    assert assign_splits(images, config, [], 1) == assign_splits(images[::-1], config, [], 1)
    assert assign_splits(images, config, [], 1) != assign_splits(images, config, [], 2)


def test_no_picture_for_training_is_one_clear_error() -> None:
    with pytest.raises(UserError, match="left for training"):
        assign_splits([record(1)], DatasetConfig(test_fraction=0.9), [], seed=0)


def built(tmp_path: Path, name: str = "dataset", described: bool = False) -> Path:
    """Builds a dataset of three pictures; where they were to be described, the second was declined."""
    store = ImageStore(tmp_path / "pictures")
    images = []
    for number in range(3):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (64, 48), (40 * number, 90, 90)).save(path)
        images.append(record(number, digest=store.add(path).sha256))
    splits = Splits(dict(zip([image.id for image in images], ["train", "validation", "test"], strict=True)))
    question = Question(
        image_id=images[2].id, leaf=LEAF, question_type="benign_question", text="What is this for?", writer="w"
    )
    pairs = [pair(images[0]), pair(images[1], 1)]
    stage = StageDirectory(tmp_path / name, {}, {})
    captions = {
        images[0].id: Caption(image_id=images[0].id, leaf=LEAF, text="A red padlock.", writer="w"),
        images[1].id: Failure(reason="refused", message="placeholder refusal"),
        images[2].id: Caption(image_id=images[2].id, leaf=LEAF, text="A blue padlock.", writer="w"),
    }
    checks = [
        QuestionCheck(question_id=pairs[0].question_id, image_id=images[0].id, relevance="needed"),
        QuestionCheck(question_id=question.id, image_id=images[2].id, relevance="about"),
        QuestionCheck(question_id=pairs[1].question_id, image_id=images[1].id, unjudged=("relevance_unparsed",)),
    ]
    material = Material({image.id: image for image in images}, [question], pairs)
    if described:
        material = material._replace(captions=captions, checks=checks)
    build_dataset(material, splits, store, stage)
    return stage.path


def test_datasets_opens_it_with_decoded_pictures_and_trl_columns(tmp_path: Path) -> None:
    folder = built(tmp_path)
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    row = loaded["train"][0]
    assert list(row)[:4] == ["images", "prompt", "chosen", "rejected"]
    assert row["images"][0].size == (64, 48)
    assert row["images"][0].getpixel((3, 3)) == (0, 90, 90)
    assert row["prompt"][0]["content"][0]["type"] == "image"
    assert row["prompt"][0]["content"][1]["text"] == "Placeholder harmful question 0?"
    assert row["chosen"][0] == {
        "role": "assistant",
        "content": [{"type": "text", "text": "I cannot help with that."}],
    }
    assert (row["class1"], row["class2"], row["class3"]) == ("Malicious Use", "Illegal activities", "theft")
    assert (row["chosen_finish"], row["rejected_finish"]) == ("stop", "length")
    assert loaded["validation"].num_rows == 1


def test_test_questions_are_a_configuration_of_their_own_with_spa_vls_columns(tmp_path: Path) -> None:
    folder = built(tmp_path)
    loaded = datasets.load_dataset(str(folder), "test", cache_dir=str(tmp_path / "cache"))
    assert list(loaded) == ["help"]
    assert loaded["help"][0]["question"] == "What is this for?"
    assert loaded["help"][0]["image"].size == (64, 48)


def test_what_is_known_of_each_picture_stands_where_the_release_has_it(tmp_path: Path) -> None:
    """Two pictures have pairs, the third a test question; nobody measured their text, so that is null and not 0."""
    folder = built(tmp_path, described=True)
    entries = json.loads((folder / "meta_files" / "image_info" / "meta.json").read_text())
    rows = pq.read_table(folder / "data" / "train-00000-of-00001.parquet").to_pylist()
    entry = entries[0]
    assert len(entries) == 3 and entry["image"] == rows[0]["images"][0]["path"]
    assert [entry[name] for name in ("class1", "class2", "class3")] == LEAF.split("/")
    assert (entry["caption"], entry["model_caption"], entry["licence"]) == ("padlock", "A red padlock.", "CC0")
    assert (entry["width"], entry["height"], entry["sha256"]) == (64, 48, rows[0]["image_sha256"])
    assert {"url", "size", "md5", "original_sha256", "source_similarity"} <= entry.keys()
    assert entry["text_count"] is entry["caption_similarity"] is None


def test_the_same_records_make_the_same_bytes(tmp_path: Path) -> None:
    one, two = built(tmp_path, "one"), built(tmp_path, "two")
    names = sorted(path.relative_to(one) for path in one.glob("data/*.parquet"))
    assert len(names) == 3
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in names)


def test_the_card_counts_what_is_there(tmp_path: Path) -> None:
    card = (built(tmp_path) / "README.md").read_text(encoding="utf-8")
    assert "2 preference pairs about 2 pictures, and 1 test questions" in card
    assert "| drawn, CC0 | 3 |" in card
    assert "| stop, length | 2 |" in card


def test_a_row_has_both_captions_and_why_one_is_missing(tmp_path: Path) -> None:
    folder = built(tmp_path, described=True)
    columns = ["caption", "model_caption", "caption_fallback"]
    rows = [pq.read_table(path, columns=columns).to_pylist()[0] for path in sorted(folder.glob("data/*.parquet"))]
    assert [tuple(row.values()) for row in rows] == [
        ("padlock", "A blue padlock.", None),
        ("padlock", "A red padlock.", None),
        ("padlock", None, "refused"),
    ]


def test_the_card_says_whose_captions_they_are_and_what_needs_no_picture(tmp_path: Path) -> None:
    """Of 3 questions, "What is this for?" points and the pairs' do neither; 1 of 2 judged needs no picture."""
    card = (built(tmp_path, described=True) / "README.md").read_text(encoding="utf-8")
    assert "captions (`model_caption`) for 2 of 3 pictures" in card
    assert "| subcategory with sources' captions | n |\n|---|---|\n| theft | 1 |" in card
    assert "| benign_question | 1 | 0 | 1 | 0.0% " in card and "| easy_question | 2 | 0 | 0 | 100.0% " in card
    assert "A judge read 2 of the questions with their pictures: 50.0% " in card
    assert "| relevance_unparsed | 1 |" in card


def test_the_card_says_nothing_of_captions_and_judges_that_nobody_asked(tmp_path: Path) -> None:
    card = (built(tmp_path) / "README.md").read_text(encoding="utf-8")
    assert "model_caption" not in card and "of the questions with their pictures" not in card


def test_a_pair_on_a_test_picture_is_refused(tmp_path: Path) -> None:
    image = record(1)
    with pytest.raises(RunError, match="test split"):
        build_dataset(
            Material({image.id: image}, [], [pair(image)]),
            Splits({image.id: "test"}),
            ImageStore(tmp_path),
            StageDirectory(tmp_path / "d", {}, {}),
        )


def test_no_training_pair_is_one_clear_error(tmp_path: Path) -> None:
    image = record(1)
    with pytest.raises(UserError, match="No preference pair"):
        build_dataset(
            Material({image.id: image}, [], []),
            Splits({image.id: "train"}),
            ImageStore(tmp_path),
            StageDirectory(tmp_path / "d", {}, {}),
        )


def test_a_file_written_row_group_by_row_group_is_the_file_written_at_once(tmp_path: Path) -> None:
    """Seven rows, three a row group: as many bytes, and the same ones."""
    images = {(one := record(number)).id: one for number in range(7)}
    pairs = [pair(image, number) for number, image in enumerate(images.values())]

    def table(some: list[PreferencePair]) -> pa.Table:
        return pair_table(some, lambda image_id: Picture(images[image_id]), lambda image: image.id.encode() * 99)

    pq.write_table(table(pairs), tmp_path / "whole.parquet", row_group_size=3, compression="zstd")
    groups = (table(pairs[start : start + 3]) for start in (0, 3, 6))
    assert b"".join(parquet_bytes(pair_schema(), groups)) == (tmp_path / "whole.parquet").read_bytes()
