"""The list of pictures that never enter: what it may say, and that the station obeys it."""

import hashlib
from pathlib import Path

import pytest
from tests.images.test_collect import Run, blocks

from spavl.errors import UserError
from spavl.images.removal import read_picture_list
from spavl.records import ImageRecord


@pytest.mark.parametrize("entry", ["id", "sha256", "original_sha256"])
def test_a_listed_picture_never_enters_and_its_place_goes_to_the_next(tmp_path: Path, entry: str) -> None:
    """The red apple is nearest to `red apple`; listed by any of its names, it leaves the leaf to the apple."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for seed, name in enumerate(("red apple", "apple", "bell")):
        blocks(seed).save(pictures / f"{name}.png")
    run = Run(tmp_path / "run", pictures, per_leaf=1)
    run.collect()
    record = next(one for one in run.stage().records(ImageRecord) if one.caption == "red apple")
    assert record.original_sha256 == hashlib.sha256((pictures / "red apple.png").read_bytes()).hexdigest()
    listed = tmp_path / "remove.txt"
    listed.write_text(f"# asked for by its author\n\n{str(getattr(record, entry)).upper()}  # 2026-11-21\n")
    other = Run(tmp_path / "other", pictures, per_leaf=1, remove=listed)
    manifest = other.collect()
    assert other.taken() == {"apple.png": "d/c/fruit", "bell.png": "d/c/metal"}
    assert other.left_out() == {"red apple.png": ("removed_by_list", True)}
    assert manifest.counts.by_reason == {"removed_by_list": 1}
    assert not (other.path / "pictures" / record.sha256[:2] / f"{record.sha256}.png").exists()


def test_a_list_that_changed_during_an_interruption_is_noticed(tmp_path: Path) -> None:
    pictures, listed = tmp_path / "pictures", tmp_path / "remove.txt"
    pictures.mkdir()
    blocks(1).save(pictures / "bell.png")
    listed.write_text("0" * 64)
    run = Run(tmp_path / "run", pictures, remove=listed)
    run.collect()
    (run.path / "images" / "manifest.json").unlink()
    listed.write_text("1" * 64)
    with pytest.raises(UserError, match=r"--restart-from images"):
        run.collect()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"img-0123456789abcde\n", "line 1: 'img-0123456789abcde' is neither an image id"),
        (b"\n" + b"a" * 63 + b"\n", "line 2: "),
        (b"picture.png\n", "line 1: 'picture.png' is neither"),
        (b"\xff\xfe", "it is no text in UTF-8"),
        (None, "No such file or directory"),
    ],
)
def test_a_wrong_list_is_refused_in_one_line(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "remove.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_picture_list(path, "images.remove")
    assert str(caught.value).startswith(f"images.remove: {path}")
    assert said in str(caught.value) and "\n" not in str(caught.value)
