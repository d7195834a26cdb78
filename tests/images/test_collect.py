"""The images station on real files: what is taken, what is left out and why, and that it ends the same."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from spavl.config import FolderSource, ImagesConfig
from spavl.errors import UserError
from spavl.images import collect
from spavl.records import ImageRecord
from spavl.store import ImageStore, Manifest, StageDirectory
from spavl.taxonomy import Category, Domain, Leaf, Taxonomy

FRUIT = Leaf("d", "c", "fruit", "fruit", ("red apple", "pear"))
METAL = Leaf("d", "c", "metal", "metal", ("bell",))
TAXONOMY = Taxonomy("test", "", "", (Domain("d", "d", (Category("c", "c", (FRUIT, METAL)),)),))


class WordCounts:
    """Encodes a text as the counts of its words, scaled to length one."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}

    def __call__(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        counts = np.zeros((len(texts), 64), dtype=np.float32)
        for row, text in zip(counts, texts, strict=True):
            for word in text.split():
                row[self.places.setdefault(word, len(self.places))] += 1
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)


class Run:
    """A run directory whose images station can be opened again and again."""

    def __init__(self, path: Path, pictures: Path, **settings: Any) -> None:
        self.path = path
        self.config = ImagesConfig(source=FolderSource(kind="folder", path=pictures, licence="CC0"), **settings)

    def stage(self) -> StageDirectory:
        settings = self.config.model_dump(mode="json", exclude={"source"})
        return StageDirectory(self.path / "images", settings, {})

    def collect(self, encode: Any = None) -> Manifest:
        store = ImageStore(self.path / "pictures")
        return asyncio.run(collect(self.config, TAXONOMY, self.stage(), store, encode or WordCounts()))

    def taken(self) -> dict[str, str]:
        return {record.source_name: record.leaf for record in self.stage().records(ImageRecord)}

    def left_out(self) -> dict[str, tuple[str, bool]]:
        failures = self.stage().failures().items()
        return {item.partition("/")[2]: (failure.reason, failure.dropped) for item, failure in failures}

    def results(self) -> bytes:
        return self.stage().results_path.read_bytes()


def blocks(seed: int, side: int = 64) -> Image.Image:
    colours = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize((side, side), Image.Resampling.NEAREST)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed, name in enumerate(("red apple", "apple", "bell", "brass bell", "stone")):
        blocks(seed).save(folder / f"{name}.png")
    return folder


def test_every_leaf_gets_the_pictures_whose_captions_are_nearest_to_its_keywords(
    tmp_path: Path, pictures: Path
) -> None:
    """By hand: `apple` and `red apple` share one word of one and two, 1/sqrt(1 x 2) = .70711; so do the bells."""
    run = Run(tmp_path / "run", pictures, per_leaf=2)
    manifest = run.collect()
    assert run.taken() == {
        "red apple.png": "d/c/fruit",
        "apple.png": "d/c/fruit",
        "bell.png": "d/c/metal",
        "brass bell.png": "d/c/metal",
    }
    assert run.left_out() == {"stone.png": ("no_leaf", True)}
    record = next(record for record in run.stage().records(ImageRecord) if record.source_name == "apple.png")
    assert (record.keyword, record.similarity, record.caption) == ("red apple", 0.70711, "apple")
    assert (record.source, record.licence, record.format) == ("pictures", "CC0", "png")
    assert ImageStore(run.path / "pictures").path(record.sha256).exists()
    counted = {"items": 5, "records": 4, "failures": 0, "dropped": 1, "passing": 0}
    assert manifest.counts.model_dump(exclude={"by_reason"}) == counted


def test_the_manifest_says_what_each_leaf_got_and_whose_pictures_they_are(
    tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three wanted of each, two there are."""
    (pictures / "metadata.csv").write_text("file_name,licence\nbell.png,MIT\n")
    facts = Run(tmp_path / "run", pictures, per_leaf=3).collect().facts
    assert facts == {
        "pictures_per_leaf": {"d/c/fruit": 2, "d/c/metal": 2},
        "leaves_with_too_few": ["d/c/fruit", "d/c/metal"],
        "sources": {"pictures": {"pictures": 5, "collected": 4, "licences": {"CC0": 3, "MIT": 1}}},
    }
    assert "images: 4 of 5 pictures of pictures (CC0, MIT)" in capsys.readouterr().err


def test_pictures_beyond_a_leafs_number_are_left_unopened_and_say_why(tmp_path: Path, pictures: Path) -> None:
    (pictures / "apple.png").write_bytes(b"never opened")
    run = Run(tmp_path / "run", pictures, per_leaf=1)
    run.collect()
    assert run.taken() == {"red apple.png": "d/c/fruit", "bell.png": "d/c/metal"}
    failures = run.stage().failures()
    assert failures["pictures/apple.png"].reason == "leaf_full"
    assert failures["pictures/apple.png"].message == (
        "apple.png: nearest to `fruit` (0.71): every leaf near enough has its pictures"
    )
    assert failures["pictures/stone.png"].message == (
        "stone.png: nearest to `fruit` (0.00): less than images.min_similarity (0.25)"
    )


def test_a_picture_that_cannot_be_used_gives_its_place_to_the_next_best(tmp_path: Path) -> None:
    """Captions of falling similarity to `pear`: the first five cannot be used, the sixth is taken, the seventh left."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    blocks(0).save(folder / "bell.png")
    (folder / "pear.png").write_bytes(b"these are words")
    Image.new("1", (400, 400)).save(folder / "pear 2 big.png")
    blocks(1, 31).save(folder / "pear 3 very small.png")
    blocks(0, 128).save(folder / "pear 4 copy of bell.bmp")
    blocks(4).resize((33, 133)).save(folder / "pear 4 is too long.png")
    blocks(2).save(folder / "pear 5 good one to take.png")
    blocks(3).save(folder / "pear 6 good but one too many.png")
    run = Run(tmp_path / "run", folder, per_leaf=1, max_pixels=100_000, max_aspect=4)
    manifest = run.collect()
    assert run.taken() == {"bell.png": "d/c/metal", "pear 5 good one to take.png": "d/c/fruit"}
    assert run.left_out() == {
        "pear.png": ("unreadable", False),
        "pear 2 big.png": ("too_large", True),
        "pear 3 very small.png": ("too_small", True),
        "pear 4 copy of bell.bmp": ("duplicate", True),
        "pear 4 is too long.png": ("too_long", True),
        "pear 6 good but one too many.png": ("leaf_full", True),
    }
    assert run.stage().failures()["pictures/pear 4 copy of bell.bmp"].message == (
        "pear 4 copy of bell.bmp: duplicate of pictures/bell.png"
    )
    assert manifest.counts.failures == 1
    assert len(list((run.path / "pictures").rglob("*.png"))) == 2, "only what is taken is stored"


def test_two_runs_from_two_places_are_the_same_bytes_and_name_no_place(tmp_path: Path, pictures: Path) -> None:
    (pictures / "pear.png").write_bytes(b"")
    here, there = Run(tmp_path / "run", pictures), Run(tmp_path / "other" / "run", tmp_path / "other" / "pictures")
    here.collect()
    there.config.source.path.parent.mkdir(exist_ok=True)  # type: ignore[union-attr]
    pictures.rename(tmp_path / "other" / "pictures")
    there.collect()
    assert here.results() == there.results()
    assert str(tmp_path).encode() not in here.results()


@pytest.mark.parametrize("done", range(7))
def test_an_interrupted_collection_ends_as_an_uninterrupted_one(tmp_path: Path, pictures: Path, done: int) -> None:
    """Interrupted after any number of its six outcomes, with half of the next line on the disk."""
    (pictures / "pear.png").write_bytes(b"these are words")
    whole = Run(tmp_path / "whole", pictures, per_leaf=1)
    whole.collect()
    run = Run(tmp_path / "run", pictures, per_leaf=1)
    run.collect()
    (run.path / "images" / "manifest.json").unlink()
    lines = sorted(run.results().splitlines(keepends=True), key=in_order_of_taking)
    run.stage().results_path.write_bytes(b"".join(lines[:done]) + b"".join(lines[done : done + 1])[:20])
    assert len(run.stage().pending([f"pictures/{name.name}" for name in pictures.iterdir()])) == 6 - done
    run.collect()
    assert run.results() == whole.results()


def in_order_of_taking(line: bytes) -> bool:
    """Puts what no leaf took last, as the station does."""
    return (json.loads(line)["failure"] or {}).get("reason") == "no_leaf"


def test_a_finished_collection_needs_its_source_no_more_and_says_so(
    tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(tmp_path / "run", pictures)
    manifest = run.collect()
    pictures.rename(tmp_path / "elsewhere")
    assert run.collect() == manifest
    assert "images: collected earlier; the source is not looked at again" in capsys.readouterr().err


@pytest.mark.parametrize("change", ["added", "removed", "edited", "described"])
def test_a_source_that_changed_during_an_interruption_is_refused(tmp_path: Path, pictures: Path, change: str) -> None:
    run = Run(tmp_path / "run", pictures)
    run.collect()
    (run.path / "images" / "manifest.json").unlink()
    match change:
        case "added":
            blocks(9).save(pictures / "new.png")
        case "removed":
            (pictures / "stone.png").unlink()
        case "edited":
            blocks(9, 80).save(pictures / "stone.png")
        case "described":
            (pictures / "metadata.csv").write_text("file_name,caption\nstone.png,a bell\n")
    with pytest.raises(UserError, match=r"^The pictures of images\.source are not those .*`--restart-from images`"):
        run.collect()


def test_only_the_leaves_asked_for_are_filled(tmp_path: Path, pictures: Path) -> None:
    run = Run(tmp_path / "run", pictures, leaves=("metal", "d/c/metal"))
    manifest = run.collect()
    assert set(run.taken().values()) == {"d/c/metal"}
    assert manifest.facts["pictures_per_leaf"] == {"d/c/metal": 2}


def test_an_unknown_leaf_is_refused_before_anything_is_made(tmp_path: Path, pictures: Path) -> None:
    run = Run(tmp_path / "run", pictures, leaves=("mettal",))
    with pytest.raises(UserError, match=r"^images\.leaves: test has no subcategory 'mettal'; the nearest are 'metal'"):
        run.collect()
    assert not (run.path / "images" / "results.jsonl").exists()


def test_no_pictures_and_no_folder_are_refused_with_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none is not a folder"):
        Run(tmp_path / "run", tmp_path / "none").collect()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty holds no picture\. Give a folder that does, or .*kind=packaged"):
        Run(tmp_path / "other", tmp_path / "empty").collect()


def test_no_packaged_pictures_are_refused_with_the_next_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spavl.images.sources.packaged_pictures", list)
    with pytest.raises(UserError, match=r"no package with pictures is installed.*`npm install`"):
        asyncio.run(
            collect(
                ImagesConfig(),
                TAXONOMY,
                StageDirectory(tmp_path / "images", {}, {}),
                ImageStore(tmp_path / "pictures"),
                WordCounts(),
            )
        )


def test_a_collection_of_nothing_is_refused_with_the_reasons(tmp_path: Path, pictures: Path) -> None:
    for name in ("red apple.png", "bell.png"):
        (pictures / name).write_bytes(b"these are words")
    run = Run(tmp_path / "run", pictures, min_similarity=0.9)
    said = r"from 5: no_leaf 3, unreadable 2\. Most often no_leaf, 3 times: .*Lower images\.min_similarity \(now 0\.9\)"
    with pytest.raises(UserError, match=said):
        run.collect()
    assert run.stage().manifest() is None


def test_where_no_picture_can_be_opened_nobody_is_told_to_lower_a_similarity(tmp_path: Path, pictures: Path) -> None:
    for file in pictures.iterdir():
        file.write_bytes(b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>')
    with pytest.raises(
        UserError, match=r"unreadable 5\. Most often unreadable, 5 times: .*none of PNG.*\. Mend that, or"
    ):
        Run(tmp_path / "run", pictures, min_similarity=0).collect()


def test_a_leaf_may_have_a_number_of_its_own(tmp_path: Path, pictures: Path) -> None:
    """`fruit` has two pictures and wants one, `metal` has two and wants three."""
    run = Run(tmp_path / "run", pictures, per_leaf=1, quotas={"metal": 3})
    facts = run.collect().facts
    assert sorted(facts["pictures_per_leaf"].values())[-1] == 2
    assert [leaf.rpartition("/")[2] for leaf in facts["leaves_with_too_few"]].count("metal") == 1
    assert sum(leaf.endswith("fruit") for leaf in run.taken().values()) == 1


@pytest.mark.parametrize(
    ("quotas", "said"),
    [({"mettal": 3}, "images.quotas: test has no subcategory"), ({"fruit": 3}, "'fruit' is not among images.leaves")],
)
def test_a_quota_of_a_leaf_that_is_not_collected_for_is_refused(
    tmp_path: Path, pictures: Path, quotas: dict[str, int], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        Run(tmp_path / "run", pictures, leaves=("metal",), quotas=quotas).collect()
