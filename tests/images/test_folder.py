"""Folders in the imagefolder layout: captions, licences, and everything that may be wrong with them."""

import json
import os
from pathlib import Path

import pytest

from spavl.config import FolderSource
from spavl.errors import UserError
from spavl.images.candidates import words_of
from spavl.images.folder import folder_candidates


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of files that are listed and never opened."""
    folder = tmp_path / "pictures"
    for name in ("b.png", "a.JPG", "sub/deep/red-apple_01.webp", "notes.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def listed(folder: Path) -> list[tuple[str, str, str]]:
    source = FolderSource(kind="folder", path=folder, licence="CC0")
    return [(found.name, found.caption, found.licence) for found in folder_candidates(source)]


def complaint(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        listed(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_pictures_are_listed_to_the_bottom_in_order_with_the_words_of_their_names(pictures: Path) -> None:
    assert listed(pictures) == [
        ("a.JPG", "a", "CC0"),
        ("b.png", "b", "CC0"),
        ("sub/deep/red-apple_01.webp", "red apple", "CC0"),
    ]


@pytest.mark.parametrize("name", ["c.svg", "c.TIFF", "c.heif", "c.jxl"])
def test_a_picture_of_a_kind_that_is_not_read_is_listed_to_be_counted(pictures: Path, name: str) -> None:
    (pictures / name).write_bytes(b"")
    assert [found for found, _, _ in listed(pictures)] == ["a.JPG", "b.png", name, "sub/deep/red-apple_01.webp"]


def test_items_do_not_depend_on_where_the_folder_lies(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pictures.parent)
    items = [found.item for found in folder_candidates(FolderSource(kind="folder", path=Path("pictures")))]
    assert items == ["pictures/a.JPG", "pictures/b.png", "pictures/sub/deep/red-apple_01.webp"]


@pytest.mark.parametrize(
    ("name", "words"),
    [("red-apple_01.png", "red apple"), ("Red Apple.v2.png", "Red Apple v2"), ("0001.png", "0001")],
)
def test_the_words_of_a_name_leave_numbers_out_unless_there_is_nothing_else(name: str, words: str) -> None:
    assert words_of(name) == words


def test_a_csv_gives_captions_and_licences_and_what_it_leaves_out_comes_from_elsewhere(pictures: Path) -> None:
    (pictures / "metadata.csv").write_text(
        '\ufefffile_name,caption,licence\nb.png,"a bell, made of\nbrass",MIT\nnotes.txt,,\n', encoding="utf-8"
    )
    assert listed(pictures) == [
        ("a.JPG", "a", "CC0"),
        ("b.png", "a bell, made of brass", "MIT"),
        ("notes.txt", "notes", "CC0"),
        ("sub/deep/red-apple_01.webp", "red apple", "CC0"),
    ]


def test_a_jsonl_speaks_for_the_files_beside_and_below_it(pictures: Path) -> None:
    rows = [{"file_name": "./deep/red-apple_01.webp", "text": "a pear", "license": "CC BY 4.0", "other": 3}]
    (pictures / "sub" / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n", encoding="utf-8")
    assert listed(pictures)[-1] == ("sub/deep/red-apple_01.webp", "a pear", "CC BY 4.0")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("metadata.csv", b"picture,caption\nb.png,bell\n", "line 2: : `file_name` is missing"),
        ("metadata.csv", b"file_name,caption\nnone.png,bell\n", "line 2: none.png: not a file"),
        ("metadata.csv", b"file_name,caption\n../secret.png,x\n", "line 2: ../secret.png: a name that leads out"),
        ("metadata.csv", b"file_name,caption\n/etc/hostname,x\n", "line 2: /etc/hostname: a name that leads out"),
        ("metadata.csv", b"file_name,caption\nsub,x\n", "line 2: sub: not a file"),
        ("metadata.csv", b"file_name,caption\nb\0.png,x\n", "line 2: b\\x00.png: not a file"),
        ("metadata.csv", b'file_name,caption\nb.png,"x\n', "row 1, which begins in line 2: unexpected end of data"),
        ("metadata.csv", b"file_name,caption\nb.png,\xff\xfe\n", "Save it as CSV in UTF-8"),
        ("metadata.jsonl", b'{"file_name": "b.png"\n', "Save it as JSONL in UTF-8"),
        ("metadata.jsonl", b'["b.png"]\n', "is not an object with names and values"),
        ("metadata.jsonl", b"[" * 100_000 + b"\n", "brackets inside brackets"),
        ("metadata.jsonl", b'{"file_name": 3}\n', "line 1: : `file_name` is missing"),
    ],
)
def test_wrong_metadata_is_refused_with_its_line(pictures: Path, name: str, content: bytes, said: str) -> None:
    (pictures / name).write_bytes(content)
    assert said in complaint(pictures)


@pytest.mark.parametrize("name", ["../secret.png", "sub/../../secret.png", "/etc/hostname"])
def test_a_row_that_names_a_file_outside_is_a_counted_failure_and_the_others_count(pictures: Path, name: str) -> None:
    """Two such rows are two failures; the file they name is there, and is no candidate."""
    (pictures.parent / "secret.png").write_bytes(b"")
    row = f"{name},placeholder secret\n"
    (pictures / "metadata.csv").write_text(f"file_name,caption\n{row}b.png,bell\n{row}")
    found = list(folder_candidates(FolderSource(kind="folder", path=pictures)))
    refused = {one.name: one.refused for one in found if one.refused is not None}
    assert len(found) == 3 + 2 and not any(one.path.name == "secret.png" for one in found)
    assert [*refused] == [f"metadata.csv, line {line}: {name}" for line in (2, 4)]
    assert {one.reason for one in refused.values() if one} == {"leads_out"}
    assert "bell" in {one.caption for one in found}


def test_wrong_lines_among_right_ones_are_counted_each_with_its_reason_and_the_first_of_two_counts(
    pictures: Path,
) -> None:
    lines = ["file_name,caption", "none.png,bell", "b.png,bell", "b.png,bowl", ",hat", "sub,leaf"]
    (pictures / "metadata.csv").write_text("\n".join(lines) + "\n")
    (pictures / "sub" / "metadata.jsonl").write_text('{"file_name": "../b.png", "caption": "boat"}\n')
    found = list(folder_candidates(FolderSource(kind="folder", path=pictures)))
    refused = {one.name: (one.refused.reason, one.refused.dropped) for one in found if one.refused is not None}
    assert refused == {
        "metadata.csv, line 2: none.png": ("missing_picture", False),
        "metadata.csv, line 4: b.png": ("described_twice", True),
        "metadata.csv, line 5: ": ("no_file_name", False),
        "metadata.csv, line 6: sub": ("missing_picture", False),
        "sub/metadata.jsonl, line 1: ../b.png": ("described_twice", True),
    }
    taken = {one.name: one.caption for one in found if one.refused is None}
    assert taken == {"a.JPG": "a", "b.png": "bell", "sub/deep/red-apple_01.webp": "red apple"}


def test_a_caption_that_is_no_text_is_a_failure_of_its_picture(pictures: Path) -> None:
    (pictures / "metadata.jsonl").write_text('{"file_name": "b.png", "caption": 3}\n{"file_name": "a.JPG"}\n')
    found = {one.name: one.refused for one in folder_candidates(FolderSource(kind="folder", path=pictures))}
    assert found["a.JPG"] is None and len(found) == 3
    assert (found["b.png"] or pytest.fail()).message == "`caption` is '3'; write text"


def test_a_folder_that_is_missing_or_a_file_is_refused(tmp_path: Path) -> None:
    assert "images.source.path: " in complaint(tmp_path / "none")
    (tmp_path / "file").write_bytes(b"")
    assert "is not a folder" in complaint(tmp_path / "file")


@pytest.mark.parametrize("target", ["secret.png", "elsewhere", "missing.png"])
def test_a_link_out_of_the_folder_is_a_counted_failure_and_never_opened(
    pictures: Path, tmp_path: Path, target: str
) -> None:
    (tmp_path / "secret.png").write_bytes(b"")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret.png").write_bytes(b"")
    name = "link" if target == "elsewhere" else "link.png"
    (pictures / "sub" / name).symlink_to(tmp_path / target)
    found = list(folder_candidates(FolderSource(kind="folder", path=pictures)))
    refused = {one.name: one.refused.reason for one in found if one.refused is not None}
    assert (len(found), refused) == (4, {f"sub/{name}": "leads_out"})


def test_a_link_out_that_is_no_picture_is_like_any_other_file_and_metadata_may_not_be_one(
    pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret.csv").write_text("file_name\nb.png\n")
    (pictures / "link.txt").symlink_to(tmp_path / "secret.csv")
    assert len(listed(pictures)) == 3
    (pictures / "sub" / "metadata.csv").symlink_to(tmp_path / "secret.csv")
    assert "metadata.csv is a link that leads out of the folder" in complaint(pictures)


def test_a_link_to_itself_is_a_counted_failure(pictures: Path) -> None:
    (pictures / "link.png").symlink_to("link.png")
    found = {one.name: one.refused for one in folder_candidates(FolderSource(kind="folder", path=pictures))}
    refused = found.pop("link.png")
    assert refused is not None and refused.reason == "unreadable" and set(found.values()) == {None}


def test_a_link_within_the_folder_is_one_more_picture_and_a_linked_folder_is_not_entered(pictures: Path) -> None:
    (pictures / "link.png").symlink_to("b.png")
    (pictures / "loop").symlink_to(".")
    assert [name for name, _, _ in listed(pictures)] == ["a.JPG", "b.png", "link.png", "sub/deep/red-apple_01.webp"]


def test_a_name_that_is_not_unicode_is_written_as_an_escape(pictures: Path) -> None:
    Path(os.fsdecode(os.fsencode(pictures) + b"/\xff.png")).write_bytes(b"")
    name, caption, _ = listed(pictures)[-1]
    assert name == "\\udcff.png"
    name.encode()
    caption.encode()


def test_a_control_character_of_a_name_is_an_escape_in_the_name_and_a_space_in_the_caption(pictures: Path) -> None:
    (pictures / "red\x1bapple.png").write_bytes(b"")
    assert ("red\\x1bapple.png", "red apple", "CC0") in listed(pictures)


def test_names_that_differ_only_in_spaces_are_two_pictures(pictures: Path) -> None:
    for name in ("x  y.png", "x y.png"):
        (pictures / name).write_bytes(b"")
    assert listed(pictures)[-2:] == [("x  y.png", "x y", "CC0"), ("x y.png", "x y", "CC0")]


def test_a_folder_named_like_a_picture_is_a_folder(pictures: Path) -> None:
    (pictures / "x.png").mkdir()
    (pictures / "x.png" / "y.png").write_bytes(b"")
    assert [name for name, _, _ in listed(pictures)][-1] == "x.png/y.png"


def test_folders_and_files_stand_in_the_order_of_whole_paths(tmp_path: Path) -> None:
    """A minus comes before the slash (0x2d, 0x2f), a zero after it (0x30)."""
    names = ["a-b.png", "a.png", "a/b-c.png", "a/b/c.png", "a/b0.png", "a0.png", "é/x.png"]
    for name in reversed(names):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    assert [name for name, *_ in listed(tmp_path / "pictures")] == names


def test_metadata_cannot_name_what_lies_behind_a_linked_folder(pictures: Path) -> None:
    (pictures / "again").symlink_to(pictures / "sub")
    (pictures / "metadata.jsonl").write_text('{"file_name": "again/deep/red-apple_01.webp", "text": "x"}\n')
    assert "not a file of the folder" in complaint(pictures)
