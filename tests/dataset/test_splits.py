"""Splits: pictures that look alike stay together, numbers hold exactly, leaves take turns, and the manifest counts."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.dataset.test_dataset import pair, record

from spavl.config import DatasetConfig, load_config
from spavl.dataset import DatasetRow, Material, assign_splits, benchmark_questions, build_dataset
from spavl.errors import UserError
from spavl.records import ImageRecord, PreferencePair, Question
from spavl.store import ImageStore, StageDirectory

ROOT = Path(__file__).parents[2]


def alike(image: ImageRecord, flipped_bits: int, number: int, **changes: Any) -> ImageRecord:
    """Returns another picture whose hash differs from this one's in its lowest `flipped_bits` bits."""
    hashed = f"{int(image.perceptual_hash, 16) ^ (2**flipped_bits - 1):016x}"
    return image.model_copy(update={"sha256": f"{number:064d}", "perceptual_hash": hashed} | changes)


def fresh(image: ImageRecord) -> ImageRecord:
    return ImageRecord(**image.model_dump(exclude={"id"}))


def test_pictures_that_look_alike_never_stand_on_both_sides() -> None:
    """Twenty pictures, each with one copy 3 bits away and a copy of that copy 8 bits further on: clusters of three."""
    images = []
    for number in range(20):
        first = record(number, f"a/b/{number % 4}")
        second = fresh(alike(first, 3, 100 + number))
        third = fresh(alike(second, 8, 200 + number, leaf="a/b/9"))
        images += [first, second, third]
    splits = assign_splits(images, DatasetConfig(test_fraction=0.3, validation_fraction=0.2), [], seed=0)
    for number in range(0, 60, 3):
        assert len({splits[image.id] for image in images[number : number + 3]}) == 1
    assert [len(splits.of(name)) for name in ("train", "validation", "test")] == [30, 12, 18]
    assert splits.clusters == (3,) * 20
    apart = assign_splits(images, DatasetConfig(test_fraction=0.3, cluster_bits=2), [], seed=0)
    assert apart.clusters == ()
    assert any(len({apart[image.id] for image in images[number : number + 3]}) > 1 for number in range(0, 60, 3))


def test_what_looks_like_a_held_out_picture_is_held_out_with_it() -> None:
    images = [record(number, "a/b/0") for number in range(8)]
    images.append(fresh(alike(images[0], 2, 99, leaf="a/b/1")))
    splits = assign_splits(images, DatasetConfig(test_fraction=0.1), ["a/b/1"], seed=0)
    assert splits[images[8].id] == splits[images[0].id] == "test"


def test_numbers_of_pictures_are_met_exactly_and_evenly_over_leaves() -> None:
    """Five leaves of 12 pictures: a test of 10 takes two of each leaf, a validation of 7 one of each and two more."""
    images = [record(number, f"a/b/{number % 5}") for number in range(60)]
    config = DatasetConfig(test_pictures=10, validation_pictures=7)
    splits = assign_splits(images, config, [], seed=3)
    assert [len(splits.of(name)) for name in ("train", "validation", "test")] == [43, 7, 10]
    per_leaf = [sum(splits[image.id] == "test" for image in images if image.leaf == f"a/b/{leaf}") for leaf in range(5)]
    assert per_leaf == [2, 2, 2, 2, 2]


@pytest.mark.parametrize(
    ("settings", "copies", "words"),
    [
        ({"test_pictures": 10}, 0, ["dataset.test_pictures 10", "0 are left for training", "images.per_leaf"]),
        ({"test_pictures": 11}, 0, ["dataset.test_pictures 11", "of 10 pictures 10 can go there", "images.per_leaf"]),
        ({"test_pictures": 5}, 6, ["of 10 pictures 4 can go there", "6 of them look like", "dataset.cluster_bits"]),
        ({"test_pictures": 2, "validation_pictures": 20}, 0, ["dataset.validation_pictures 20", "8 can go there"]),
    ],
)
def test_numbers_that_cannot_be_met_are_one_clear_error(
    settings: dict[str, int], copies: int, words: list[str]
) -> None:
    images = [record(number) for number in range(10 - copies)]
    images += [fresh(alike(record(99), bits, 50 + bits)) for bits in range(1, copies + 1)]
    with pytest.raises(UserError) as caught:
        assign_splits(images, DatasetConfig(**settings), [], seed=0)
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def asked(image: ImageRecord, kind: str, number: int) -> Question:
    return Question(image_id=image.id, leaf=image.leaf, question_type=kind, text=f"Placeholder {number}?", writer="w")


def test_rows_beyond_a_splits_number_are_dropped_and_counted_and_leaves_take_turns(tmp_path: Path) -> None:
    """Two leaves of three pictures each: a picture of each in every split.

    Training has 2 x 3 pairs and room for 4: two of each leaf. The test has 2 x 3 harmful questions and room for 2: one
    of each leaf; its two benign ones have room for 9.
    """
    store, images = ImageStore(tmp_path / "pictures"), []
    for number in range(6):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (64, 48), (40 * number, 90, 90)).save(path)
        images.append(record(number, f"a/b/{number % 2}", store.add(path).sha256))
    config = DatasetConfig(test_pictures=2, validation_pictures=2, max_rows={"train": 4, "harm": 2, "help": 9})
    splits = assign_splits(images, config, [], seed=0)
    pairs = [pair(one, number) for one in images if splits[one.id] != "test" for number in range(3)]
    pairs = [_distinct(one, number) for number, one in enumerate(pairs)]
    kinds = ("easy_question", "hard_question", "hard_statement", "benign_question")
    questions = [asked(one, kind, number) for one in images for number, kind in enumerate(kinds)]
    stage = StageDirectory(tmp_path / "dataset", {}, {})
    manifest = build_dataset(Material({image.id: image for image in images}, questions, pairs), splits, store, stage)
    assert (manifest.counts.items, manifest.counts.records, manifest.counts.by_reason) == (12, 10, {"over_max_rows": 2})
    facts = manifest.facts
    assert {name: facts[name] for name in ("train", "validation", "harm", "help")} == {
        "train": 4,
        "validation": 6,
        "harm": 2,
        "help": 2,
    }
    assert facts["test_questions_left_out"] == 4
    assert facts["pictures"] == {"train": 2, "validation": 2, "test": 2}
    assert facts["look_alikes"] == {"clusters": 0, "pictures": 0, "largest": 0}
    kept = {one.pair_id for one in stage.records(DatasetRow)}
    train = [one for one in pairs if one.id in kept and splits[one.image_id] == "train"]
    assert sorted(one.leaf for one in train) == ["a/b/0", "a/b/0", "a/b/1", "a/b/1"]


def _distinct(one: PreferencePair, number: int) -> PreferencePair:
    return PreferencePair(**(one.model_dump(exclude={"id"}) | {"chosen_id": f"res-{number}"}))


def test_the_papers_splits_come_out_of_the_ready_configuration() -> None:
    """53 leaves of 660 pictures: five of each leaf for the test, 2,800 for validation; the caps are SPA-VL's."""
    config = load_config(ROOT / "configs" / "spa_vl_size.yaml")
    images = [record(number, f"a/b/{number % 53}") for number in range(53 * config.images.per_leaf)]
    splits = assign_splits(images, config.dataset, [], config.seed)
    assert [len(splits.of(name)) for name in ("train", "validation", "test")] == [53 * 660 - 3065, 2800, 265]
    test = splits.of("test")
    assert set(Counter(image.leaf for image in images if image.id in test).values()) == {5}
    assert splits.max_rows == {"train": 93_258, "validation": 7_000, "harm": 265, "help": 265}
    three = [asked(one, kind, 0) for one in images for kind in ("easy_question", "hard_question", "hard_statement")]
    benign = [asked(one, "benign_question", 1) for one in images if one.id in test]
    kept = benchmark_questions([*three, *benign], splits)
    assert [len(kept["harm"]), len(kept["help"])] == [265, 265]
    assert set(Counter(one.leaf for one in kept["harm"]).values()) == {5}
