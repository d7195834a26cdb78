"""Exports: what is read back is what was written, every row is there or counted, cards are measured."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq
import pytest
from tests.dataset.preference_rows import png, spa_vl_row, trl_row, write_rows
from tests.dataset.spa_vl_release import write_release
from tests.dataset.test_dataset import built
from tests.dataset.test_read import Reading

from spavl.dataset.export import FORMATS, export_dataset
from spavl.errors import UserError
from spavl.records import PreferencePair

META = Path("meta_files")


def said(pair: PreferencePair) -> dict[str, Any]:
    return pair.model_dump(exclude={"id", "read_from"})


@pytest.fixture
def joined(tmp_path: Path) -> Path:
    """The replica of the release, 60 training rows alone, in TRL's columns with what its meta files say."""
    release = write_release(tmp_path / "SPA-VL", 60)
    for others in ("validation", "test"):
        shutil.rmtree(release / others)
    return export_dataset(release, "trl", tmp_path / "joined", META).folder


def test_the_whole_replica_goes_to_trls_form_and_back_with_every_row_kept_or_counted(tmp_path: Path) -> None:
    """200 training pairs, 20 of validation, 5 test questions of each kind; the meta files give training its classes."""
    release = write_release(tmp_path / "SPA-VL", 200)
    trl = export_dataset(release, "trl", tmp_path / "trl", META)
    back = export_dataset(trl.folder, "spa_vl", tmp_path / "back")
    rows = {"train": 200, "validation": 20, "harm": 5, "help": 5}
    assert (trl.rows, trl.left_out) == (back.rows, back.left_out) == (rows, {})
    for split in ("train", "validation"):
        wanted = Reading(release, tmp_path / f"wanted_{split}", split=split, meta_files=META).pairs
        for number, out in enumerate((trl, back)):
            read = Reading(out.folder, tmp_path / f"{split}_{number}", split=split).pairs
            assert [said(pair) for pair in read] == [said(pair) for pair in wanted]
        assert all(pair.leaf.count("/") == 2 for pair in wanted)


def test_pictures_keep_their_names_and_what_the_release_knows_of_them_to_trls_form_and_back(tmp_path: Path) -> None:
    """67 pictures have an entry; those of two name folders that the rows lack, one is only known by its MD5.

    Rows of validation have no `image_name`: their name is their picture's path.
    """
    release = write_release(tmp_path / "SPA-VL", 200)
    path = release / META / "image_info" / "meta.json"
    entries = json.loads(path.read_text())
    for number, name in enumerate(("Unfair/racial/0.jpg", "Toxic/bully/1.jpg", "renamed.jpg")):
        entries[number] |= {"image": name, "md5": entries[number]["md5"] if number == 2 else ""}
    path.write_text(json.dumps(entries))
    trl = export_dataset(release, "trl", tmp_path / "trl", META).folder
    back = export_dataset(trl, "spa_vl", tmp_path / "back").folder
    wanted = [{**entry, "image": f"{number}.jpg"} for number, entry in enumerate(entries)]
    for folder in (trl, back):
        assert json.loads((folder / META / "image_info" / "meta.json").read_text()) == wanted
    for place in ("data/train", "validation/validation"):
        (before, after) = (
            [row for path in sorted(folder.glob(f"{place}-*")) for row in pq.read_table(path).to_pylist()]
            for folder in (release, back)
        )
        assert [row["image"] for row in after] == [row["image"] for row in before]
        assert [row["image_name"] for row in after] == [row["image"]["path"] for row in before]
    joined = [Reading(one, tmp_path / one.name / "run", meta_files=META).pairs for one in (release, trl, back)]
    assert (
        [said(pair) for pair in joined[0]] == [said(pair) for pair in joined[1]] == [said(pair) for pair in joined[2]]
    )


def test_the_cards_licence_is_in_every_row_of_an_export_and_in_its_card(tmp_path: Path) -> None:
    """The release's card says CC BY 4.0 for all rows; to SPA-VL's form and back it stays, and a person's word too."""
    release = write_release(tmp_path / "SPA-VL", 6)
    (release / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n")
    trl = export_dataset(release, "trl", tmp_path / "trl").folder
    back = export_dataset(trl, "spa_vl", tmp_path / "back").folder
    given = export_dataset(release, "trl", tmp_path / "given", licence="bought").folder
    for folder, licence in ((trl, "cc-by-4.0"), (back, "cc-by-4.0"), (given, "bought")):
        rows = [row for path in folder.rglob("*.parquet") for row in pq.read_table(path).to_pylist()]
        assert {row["licence"] for row in rows} == {licence} and len(rows) == 36
        card = (folder / "README.md").read_text()
        assert f"Licences of the pictures: {licence}." in card
        assert ("license: cc-by-4.0\n---\n" in card) == (licence == "cc-by-4.0")
        assert json.loads((folder / "croissant.json").read_text())["license"] == [licence]


def test_a_licence_that_nobody_says_is_said_to_be_unknown(tmp_path: Path) -> None:
    rows = [spa_vl_row(0, licence="MIT"), spa_vl_row(1, licence=None)]
    folder = export_dataset(write_rows(tmp_path / "data", rows), "trl", tmp_path / "out").folder
    assert "Licences of the pictures: MIT, unknown." in (folder / "README.md").read_text()
    assert json.loads((folder / "croissant.json").read_text())["license"] == ["MIT", "unknown"]


def test_what_two_entries_could_say_of_a_picture_is_said_by_neither(tmp_path: Path) -> None:
    """Both entries end in the name of row 0's picture; row 1's has one of its own."""
    folder = write_rows(tmp_path / "data", [spa_vl_row(0), spa_vl_row(1)])
    (folder / META / "image_info").mkdir(parents=True)
    entries = [{"image": f"{name}.png", "url": name} for name in ("racial/0", "bully/0", "1")]
    (folder / META / "image_info" / "meta.json").write_text(json.dumps(entries))
    out = export_dataset(folder, "trl", tmp_path / "trl").folder
    assert json.loads((out / META / "image_info" / "meta.json").read_text()) == [entries[2]]


def test_without_its_meta_files_the_releases_training_rows_have_no_classes_and_a_wrong_folder_is_refused(
    tmp_path: Path,
) -> None:
    release = write_release(tmp_path / "SPA-VL", 6)
    out = export_dataset(release, "trl", tmp_path / "trl").folder
    assert {pair.leaf for pair in Reading(out, tmp_path / "read").pairs} == {""}
    with pytest.raises(UserError, match=r"--meta-files: neither .*none nor none holds"):
        export_dataset(release, "trl", tmp_path / "other", Path("none"))
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("form", ["trl", "spa_vl"])
def test_the_release_goes_to_trls_columns_and_back_without_a_change(joined: Path, tmp_path: Path, form: str) -> None:
    """The release, read with its meta files, is what both exports give when they are read, rationales included."""
    wanted = Reading(tmp_path / "SPA-VL", tmp_path / "wanted", meta_files=META).pairs
    trl = export_dataset(joined, "trl", tmp_path / "trl")
    out = trl if form == "trl" else export_dataset(trl.folder, "spa_vl", tmp_path / "spa_vl")
    assert (out.rows, out.left_out) == ({"train": 60}, {})
    assert [said(pair) for pair in Reading(out.folder, tmp_path / "again").pairs] == [said(pair) for pair in wanted]
    back = export_dataset(out.folder, "trl", tmp_path / "back").folder / "data" / "train-00000-of-00001.parquet"
    assert pq.read_table(back).to_pylist() == pq.read_table(trl.folder / "data" / back.name).to_pylist()


def test_how_much_better_an_answer_is_survives_being_exported_and_read(tmp_path: Path) -> None:
    out = export_dataset(built(tmp_path), "trl", tmp_path / "out")
    assert [pair.strength for pair in Reading(out.folder, tmp_path / "read").pairs] == [2.5]


def test_the_export_in_spa_vls_form_has_its_columns_tags_and_configurations(tmp_path: Path) -> None:
    """The dataset has a training pair, a validation pair and a benign test question."""
    out = export_dataset(built(tmp_path), "spa_vl", tmp_path / "out")
    assert out.rows == {"train": 1, "validation": 1, "help": 1}
    train = datasets.load_dataset(str(out.folder), cache_dir=str(tmp_path / "cache"))["train"]
    assert train.column_names[:5] == ["image", "question", "chosen", "rejected", "image_name"]
    row = train[0]
    assert (row["question_type"], row["class1"], row["class3"]) == ("easy", "Malicious Use", "theft")
    assert row["image"].size == (64, 48) and row["rationales"] == ["one", "two"]
    for config, split in (("validation", "validation"), ("test", "help")):
        loaded = datasets.load_dataset(str(out.folder), config, cache_dir=str(tmp_path / "cache"))
        assert loaded[split].num_rows == 1


def test_what_is_known_of_pictures_goes_with_them_under_the_exports_names(tmp_path: Path) -> None:
    """To TRL's form, from there to SPA-VL's: each of the three pictures is described under its row's name."""
    trl = export_dataset(built(tmp_path), "trl", tmp_path / "trl")
    folder = export_dataset(trl.folder, "spa_vl", tmp_path / "spa_vl").folder
    entries = json.loads((folder / "meta_files" / "image_info" / "meta.json").read_text())
    rows = [row for path in folder.rglob("*.parquet") for row in pq.read_table(path).to_pylist()]
    assert len(entries) == len(rows) == 3
    assert {entry["image"] for entry in entries} == {row["image"]["path"] for row in rows}
    assert {entry["image_id"] for entry in entries} == {row["image_id"] for row in rows}


def test_llamafactory_gets_ranked_conversations_that_its_description_names(tmp_path: Path) -> None:
    out = export_dataset(built(tmp_path), "llamafactory", tmp_path / "out")
    assert (out.rows, out.left_out) == ({"train": 1, "validation": 1}, {"no_answers": 1})
    info = json.loads((out.folder / "dataset_info.json").read_text())
    assert sorted(info) == ["spavl_train", "spavl_validation"]
    described = info["spavl_train"]
    assert described["ranking"] is True and described["formatting"] == "sharegpt"
    (row,) = json.loads((out.folder / described["file_name"]).read_text())
    assert row[described["columns"]["messages"]] == [
        {"from": "human", "value": "<image>Placeholder harmful question 0?"}
    ]
    assert row[described["columns"]["chosen"]] == {"from": "gpt", "value": "I cannot help with that."}
    assert row[described["columns"]["rejected"]] == {"from": "gpt", "value": "Placeholder unsafe answer."}
    (picture,) = row[described["columns"]["images"]]
    assert (out.folder / picture).read_bytes().startswith(b"\x89PNG")


def test_swift_gets_messages_a_rejected_response_and_pictures_that_are_there(joined: Path, tmp_path: Path) -> None:
    """60 rows about 20 pictures: each picture is written once."""
    out = export_dataset(joined, "swift", tmp_path / "out")
    rows = [json.loads(line) for line in (out.folder / "train.jsonl").read_text().splitlines()]
    assert len(rows) == out.rows["train"] == 60
    assert [message["role"] for message in rows[0]["messages"]] == ["user", "assistant"]
    assert rows[0]["messages"][0]["content"] == '<image>"placeholder easy text about scene 0"'
    assert rows[0]["messages"][1]["content"] == "I would rather not say, for reason 0."
    assert rows[0]["rejected_response"] == "Yes: placeholder 0."
    assert all(Path(row["images"][0]).is_file() and Path(row["images"][0]).is_absolute() for row in rows)
    assert len(list((out.folder / "images").iterdir())) == 20


def test_rows_that_have_no_place_are_counted(tmp_path: Path) -> None:
    rows = [
        trl_row(0),
        trl_row(1, images=[]),
        trl_row(2, prompt=[{"role": "user", "content": "what is an <image> token"}]),
        trl_row(3, rejected=[{"role": "assistant", "content": " "}]),
        trl_row(4, images=[{"bytes": png(one), "path": None} for one in (0, 1)]),
    ]
    folder = write_rows(tmp_path / "data", rows)
    out = export_dataset(folder, "swift", tmp_path / "swift")
    assert out.rows == {"train": 1}
    assert out.left_out == {"empty_answer": 1, "image_token": 1, "no_single_picture": 2}
    assert "empty_answer 1, image_token 1, no_single_picture 2" in (out.folder / "README.md").read_text()
    assert export_dataset(folder, "trl", tmp_path / "trl").rows == {"train": 2}


def test_a_row_whose_picture_cannot_be_decoded_is_left_out_and_counted(tmp_path: Path) -> None:
    """Of three rows in the release's columns, one has no picture's bytes and one a picture that was cut off."""
    broken = [b"no picture", png(1)[:-40]]
    rows = [spa_vl_row(0), *(spa_vl_row(1, image={"bytes": one, "path": "1.png"}) for one in broken)]
    out = export_dataset(write_rows(tmp_path / "data", rows), "trl", tmp_path / "trl")
    assert (out.rows, out.left_out) == ({"train": 1}, {"unreadable": 2})


def test_the_card_is_measured_and_answers_the_datasheets_questions(joined: Path, tmp_path: Path) -> None:
    """60 rows, 20 pictures; chosen answers have 8 words, rejected ones 3; leaves of three domains take turns."""
    card = (export_dataset(joined, "trl", tmp_path / "out").folder / "README.md").read_text()
    assert "60 rows about 20 pictures; 60 of them are preference pairs" in card
    assert "| chosen | 60 | 8.0 | 8 | 8 |" in card and "| rejected | 60 | 3.0 | 3 | 3 |" in card
    assert "The chosen answer has more words than the rejected one in 60 of 60 pairs." in card
    assert "| hard_statement | 20 |" in card and "| Malicious Use | 21 |" in card
    for question in ("Motivation", "Composition", "Collection", "Preprocessing", "Uses", "Distribution", "Maintenance"):
        assert f"**{question}.**" in card


@pytest.mark.parametrize("form", FORMATS)
def test_croissant_names_every_file_with_its_digest_and_the_columns_of_parquet(tmp_path: Path, form: str) -> None:
    out = export_dataset(built(tmp_path), form, tmp_path / "out").folder
    body = json.loads((out / "croissant.json").read_text())
    assert body["conformsTo"] == "http://mlcommons.org/croissant/1.0" and body["license"] == ["CC0"]
    files = {one["@id"]: one for one in body["distribution"]}
    data = {str(path.relative_to(out)) for path in out.rglob("*") if path.suffix in (".parquet", ".json", ".jsonl")}
    assert files.keys() == data - {"croissant.json"}
    for name, one in files.items():
        assert one["sha256"] == hashlib.sha256((out / name).read_bytes()).hexdigest()
    for records in body["recordSet"]:
        for field in records["field"]:
            source = field["source"]
            assert source["extract"]["column"] in pq.read_schema(out / source["fileObject"]["@id"]).names
    assert bool(body["recordSet"]) == (form in ("trl", "spa_vl"))


def test_what_a_build_writes_has_croissant_and_a_datasheet_too(tmp_path: Path) -> None:
    folder = built(tmp_path)
    assert len(json.loads((folder / "croissant.json").read_text())["distribution"]) == 4
    assert "## Datasheet" in (folder / "README.md").read_text()


def test_the_command_says_what_it_wrote(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "spavl", "export", str(built(tmp_path)), "--format", "swift", "--json"]
    done = subprocess.run([*command, "--out", str(tmp_path / "out")], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == {"train": 1, "validation": 1}
    again = subprocess.run([*command, "--out", str(tmp_path / "out")], capture_output=True, text=True, timeout=120)
    assert again.returncode == 2 and len(again.stderr.splitlines()) == 1 and "is there already" in again.stderr


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("format", ["--format csv", "trl, spa_vl, llamafactory, swift"]),
        ("empty", ["holds no *.parquet", "runs/NAME/dataset"]),
        ("columns", ["neither pairs", "its columns are other"]),
        ("torn", ["cannot be read", "Get the file again"]),
        ("part", ["lacks train-00001-of-00002.parquet", "1 of 2 parts"]),
        ("questions", ["no row has a place in format swift", "no_answers 1"]),
    ],
)
def test_what_cannot_be_exported_is_one_clear_error_and_leaves_nothing(
    tmp_path: Path, case: str, words: list[str]
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    if case == "columns":
        write_rows(folder, [{"other": 1}])
    if case == "torn":
        (folder / "train.parquet").write_bytes(b"torn")
    if case == "part":
        write_rows(folder, [{"question": "placeholder"}], "train-00000-of-00002.parquet")
    if case in ("questions", "format"):
        write_rows(folder, [{"image": {"bytes": png(0), "path": "a"}, "question": "placeholder"}])
    with pytest.raises(UserError) as caught:
        export_dataset(folder, "csv" if case == "format" else "swift", tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert not (tmp_path / "out").exists()
