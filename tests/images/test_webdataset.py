"""Tar files in the WebDataset form: keys, captions, and everything that may be wrong with a tar."""

import asyncio
import gzip
import io
import json
import tarfile
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tests.images.test_collect import TAXONOMY, WordCounts
from tests.images.test_hub_dataset import png

from spavl.errors import UserError
from spavl.image_config import ImagesConfig, WebDatasetSource
from spavl.images import check_source, collect
from spavl.images.candidates import Candidate
from spavl.images.webdataset import OpenWebDataset
from spavl.records import Failure, ImageRecord
from spavl.store import ImageStore, StageDirectory, places

LAION = {"caption": "a red apple", "url": "http://h/a.jpg", "similarity": 0.3, "license": "MIT", "width": 640}


def shard(path: Path, *members: tuple[str, bytes] | tarfile.TarInfo) -> Path:
    """Writes a tar of (name, content), or of headers alone for links and devices."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                header = tarfile.TarInfo(member[0])
                header.size = len(member[1])
                tar.addfile(header, io.BytesIO(member[1]))
    return path


def link(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.type, header.linkname = kind, target
    return header


def opened(path: Path, **settings: Any) -> OpenWebDataset:
    return OpenWebDataset(WebDatasetSource(kind="webdataset", path=path, **settings), max_bytes=1000)


def check(path: Path, **settings: Any) -> None:
    check_source(ImagesConfig(source=WebDatasetSource(kind="webdataset", path=path, **settings)))


def listed(path: Path, **settings: Any) -> list[Candidate]:
    return list(opened(path, **settings).listed())


def content(source: OpenWebDataset, index: int = 0) -> Any:
    return asyncio.run(source.content([*source.listed()][index]))


def test_captions_and_what_is_known_come_from_what_has_the_pictures_key(tmp_path: Path) -> None:
    path = shard(
        tmp_path / "shards" / "0.tar",
        ("000/1.jpg", b"one"),
        ("000/1.json", json.dumps(LAION).encode()),
        ("000/2.txt", b"a bell,\nmade of brass"),
        ("000/2.JPG", b"two"),
        ("000/2.json", json.dumps({"caption": "other"}).encode()),
        ("red-apple.left.png", b"three"),
        ("notes.md", b"no picture"),
    )
    found = opened(path, keep=("width",), licence="CC0")
    assert [(one.caption, one.licence, one.url, one.similarity, dict(one.columns)) for one in found.listed()] == [
        ("a red apple", "MIT", "http://h/a.jpg", 0.3, {"width": 640}),
        ("a bell, made of brass", "CC0", None, None, {"width": None}),
        ("red apple left", "CC0", None, None, {"width": None}),
    ]
    assert [one.item for one in found.listed()] == [
        "shards/0.tar/000/1.jpg", "shards/0.tar/000/2.JPG", "shards/0.tar/red-apple.left.png",
    ]  # fmt: skip
    assert [content(found, index) for index in (2, 0, 1)] == [b"three", b"one", b"two"]


def test_half_a_character_in_what_is_kept_or_in_an_address_is_shown_as_unreadable(tmp_path: Path) -> None:
    said = json.dumps({"caption": "a \ud83d", "url": "http://h/\ud83d", "artist": "\ud83d"})
    path = shard(tmp_path / "0.tar", ("1.jpg", b"one"), ("1.json", said.encode()))
    (one,) = listed(path, keep=("artist",))
    assert (one.caption, one.url, dict(one.columns)) == ("a \\ud83d", "http://h/\ufffd", {"artist": "\ufffd"})


def test_a_pattern_a_folder_and_a_file_are_read_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("b", "a"):
        shard(tmp_path / "shards" / f"{name}.tar", (f"{name}.png", name.encode()))
    (tmp_path / "shards" / "c.txt").write_text("no tar")
    for path in (tmp_path / "shards", tmp_path / "shards" / "*.tar", tmp_path / "**" / "*.tar"):
        assert [one.name for one in listed(path)] == ["a.tar/a.png", "b.tar/b.png"]
    assert [one.name for one in listed(tmp_path / "shards" / "b.tar")] == ["b.tar/b.png"]


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (("../out.png", b"x"), "leads_out"),
        (("a/../../out.png", b"x"), "leads_out"),
        (("/etc/out.png", b"x"), "leads_out"),
        (link("a.png", tarfile.SYMTYPE, "/etc/hostname"), "not_a_file"),
        (link("a.png", tarfile.LNKTYPE, "b.png"), "not_a_file"),
        (link("a.png", tarfile.CHRTYPE), "not_a_file"),
        (link("a.png", tarfile.FIFOTYPE), "not_a_file"),
        (link("a.txt", tarfile.SYMTYPE, "/etc/hostname"), "not_a_file"),
    ],
)
def test_what_leads_out_or_is_no_file_is_a_counted_failure_and_never_opened(
    tmp_path: Path, member: Any, reason: str
) -> None:
    """The bell is taken; the member is near no leaf, and still has its own reason."""
    path = shard(tmp_path / "shards" / "0.tar", member, ("b.png", png(1)), ("b.txt", b"bell"))
    config = ImagesConfig(source=WebDatasetSource(kind="webdataset", path=path))
    stage = StageDirectory(tmp_path / "run" / "images", {}, {})
    manifest = asyncio.run(collect(config, TAXONOMY, stage, ImageStore(tmp_path / "run" / "pictures"), WordCounts()))
    assert manifest.counts.by_reason == {reason: 1}
    assert [one.caption for one in stage.records(ImageRecord)] == ["bell"]
    assert not (tmp_path.parent / "out.png").exists()


def test_a_check_names_a_member_that_leads_out_and_passes_a_link(tmp_path: Path) -> None:
    """A collection counts both; but tar itself writes links, for files that it has already."""
    good = (("b.png", png(1)), ("b.txt", b"bell"))
    path = shard(tmp_path / "0.tar", *good, ("a/../../out.png", b"x"))
    with pytest.raises(UserError) as caught:
        check(path)
    assert f"{path}: the name of 'a/../../out.png' leads out of the tar. Pack the tar again" in str(caught.value)
    check(shard(tmp_path / "1.tar", *good, link("c.png", tarfile.LNKTYPE, "b.png")))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("1.txt", b"\xff\xfe"),
        ("1.json", b"{"),
        ("1.json", b"[1]"),
        ("1.json", b"[" * 100_000),
        ("1.txt", b"x" * 1_000_001),
    ],
)
def test_a_caption_that_cannot_be_read_is_a_counted_failure_of_its_picture(
    tmp_path: Path, name: str, text: bytes
) -> None:
    path = shard(tmp_path / "0.tar", ("1.png", b"x"), (name, text))
    refused = listed(path)[0].refused
    assert refused is not None and refused.reason == "unreadable_caption" and name in refused.message
    with pytest.raises(UserError, match=rf"0\.tar: {name} cannot be read: "):
        check(path)


def test_a_picture_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    failure = content(opened(shard(tmp_path / "0.tar", ("1.png", b"x" * 1001))))
    assert isinstance(failure, Failure) and failure.reason == "too_large"


def test_a_member_that_stands_twice_is_two_items(tmp_path: Path) -> None:
    found = opened(shard(tmp_path / "0.tar", ("1.png", b"a"), ("1.png", b"b")))
    assert len({one.item for one in found.listed()}) == 2
    assert [content(found, 0), content(found, 1)] == [b"a", b"b"]


def test_a_key_that_no_json_has_is_refused_with_those_they_have(tmp_path: Path) -> None:
    path = shard(tmp_path / "0.tar", ("1.png", b"x"), ("1.json", b'{"caption": "x", "url": null}'))
    for settings in ({"caption_column": "text"}, {"keep": ("text",)}):
        for read in (listed, check):
            with pytest.raises(UserError, match=r"there is no column 'text'; there are 'caption', 'url'"):
                read(path, **settings)


def whole() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("a.png", "b.png"):
            header = tarfile.TarInfo(name)
            header.size = 700
            tar.addfile(header, io.BytesIO(b"x" * 700))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "damaged",
    [whole()[:100], whole()[:900], b"these are words" * 100, gzip.compress(whole()), b""],
    ids=["in the first header", "in the first member", "no tar", "compressed", "empty"],
)
def test_a_tar_of_which_nothing_can_be_read_is_refused_in_one_line(tmp_path: Path, damaged: bytes) -> None:
    path = tmp_path / "0.tar"
    path.write_bytes(damaged)
    for read in (listed, check):
        with pytest.raises(UserError) as caught:
            read(path)
        assert str(caught.value).startswith(f"images.source.path: {path} cannot be read as a tar")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "damaged",
    [whole()[:1600], whole()[:2100], whole()[:1536] + b"x" * 1024],
    ids=["in the second header", "in the second member", "overwritten"],
)
def test_what_lies_before_a_tear_is_read_and_the_tear_is_one_failure_of_its_shard(
    tmp_path: Path, damaged: bytes
) -> None:
    """A member takes 512 + 1,024 bytes, so the first ends at 1,536; the shards beside the torn one are read."""
    for name, data in (("0.tar", whole()), ("1.tar", damaged), ("2.tar", whole()), ("3.tar", b"no tar" * 200)):
        (tmp_path / name).write_bytes(data)
    found = {one.name: one.refused and one.refused.reason for one in listed(tmp_path)}
    assert found == {
        "0.tar/a.png": None,
        "0.tar/b.png": None,
        "1.tar/a.png": None,
        "1.tar/(torn after byte 1536)": "torn_tar",
        "2.tar/a.png": None,
        "2.tar/b.png": None,
        "3.tar/(torn after byte 0)": "torn_tar",
    }
    with pytest.raises(UserError, match=r"1\.tar cannot be read as a tar"):
        check(tmp_path)


@pytest.mark.parametrize("cut", [100, 512 + 1], ids=["in the caption's header", "in the caption"])
def test_a_picture_whose_caption_was_torn_away_is_not_taken_by_its_name(tmp_path: Path, cut: int) -> None:
    """Members of 1,024 bytes; of the second sample the picture is whole, and its caption is not."""
    members = [("a.png", b"x"), ("a.txt", b"a bell"), ("b.png", b"x"), ("b.txt", b"a bowl")]
    path = shard(tmp_path / "0.tar", *members)
    path.write_bytes(path.read_bytes()[: 3 * 1024 + cut])
    found = {one.name: one.refused and one.refused.reason for one in listed(path)}
    assert found == {"0.tar/a.png": None, "0.tar/b.png": "torn_tar", "0.tar/(torn after byte 3072)": "torn_tar"}


def test_a_check_of_a_long_tar_reads_its_beginning_and_sees_that_it_was_cut(tmp_path: Path) -> None:
    """1,100 empty members of one block each; the 1,001st cannot be read in what is left."""
    path = shard(tmp_path / "0.tar", *((f"{number:04}.png", b"") for number in range(1100)))
    check(path)
    path.write_bytes(path.read_bytes()[: 1050 * 512 + 100])
    with pytest.raises(UserError, match=r"cannot be read as a tar \(it ends inside a block\)"):
        check(path)


def test_no_tar_and_no_picture_are_refused(tmp_path: Path) -> None:
    source = WebDatasetSource(kind="webdataset", path=tmp_path / "none" / "*.tar")
    for read in (lambda: listed(source.path), lambda: check_source(ImagesConfig(source=source))):
        with pytest.raises(UserError, match=r"names no tar file"):
            read()
    for read in (listed, check):
        with pytest.raises(UserError, match=r"holds no picture"):
            read(shard(tmp_path / "0.tar", ("a.txt", b"words")))


def test_a_pattern_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^images\.source\.path: .*Invalid pattern"):
        listed(tmp_path / "a**b" / "*.tar")


class Peak(WordCounts):
    """Encodes with the words forgotten after each call, for there are many."""

    def __call__(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        counts = np.zeros((len(texts), 4), np.float32)
        for row, text in zip(counts, texts, strict=True):
            row[("apple" in text) + 2 * ("bell" in text)] = 1
        return counts


def peak_bytes(folder: Path, pictures: int) -> int:
    """Collects four of so many pictures; returns the most memory that was in use, beside what was before."""
    names = [f"{place:06}.{'bell' if place < 2 else 'apple'}.png" for place in range(pictures)]
    path = shard(folder / "0.tar", *((name, png(place) if place < 4 else b"x") for place, name in enumerate(names)))
    config = ImagesConfig(source=WebDatasetSource(kind="webdataset", path=path), per_leaf=2)
    stage, store = StageDirectory(folder / "run" / "images", {}, {}), ImageStore(folder / "run" / "pictures")
    tracemalloc.start()
    try:
        manifest = asyncio.run(collect(config, TAXONOMY, stage, store, Peak()))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (manifest.counts.items, manifest.counts.records) == (pictures, 4)
    return peak


def test_what_a_source_lists_takes_some_tens_of_bytes_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Places of the list 8, of names, outcomes and failures 16 each, similarities 6, marks 3, and what tables grow by.

    As a list of candidates it was 2,000.
    """
    monkeypatch.setattr(places, "_FRESH", 64)
    few, many = (peak_bytes(tmp_path / str(count), count) for count in (1_000, 5_000))
    assert (many - few) / 4_000 < 150
