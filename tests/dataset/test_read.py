"""Reading a preference dataset: both kinds of columns, pictures once, every unusable row counted with its reason."""

from pathlib import Path
from typing import Any

import pytest
from tests.dataset.preference_rows import png, put_latin_1, spa_vl_row, trl_row, write_rows
from tests.dataset.test_dataset import LEAF, built, pair, record

from spavl.dataset import find_split, read_pairs, sample_pairs, stored_pictures
from spavl.errors import UserError
from spavl.recipe_config import DataConfig
from spavl.records import PreferencePair
from spavl.store import ImageStore, Manifest, StageDirectory


class Reading:
    """What came out of reading a folder."""

    def __init__(self, folder: Path, run: Path, **settings: Any) -> None:
        config = DataConfig(path=str(folder), **settings)
        self.store = ImageStore(run / "pictures")
        stage = StageDirectory(run / "pairs", {}, {})
        self.manifest: Manifest = read_pairs(config, find_split(config), self.store, stage)
        self.pairs = stage.records(PreferencePair)


def complaint(folder: Path, run: Path, **settings: Any) -> str:
    with pytest.raises(UserError) as caught:
        Reading(folder, run, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_dataset_that_spavl_writes_reads_back_as_the_pairs_it_was_made_of(tmp_path: Path) -> None:
    """The picture is 64 x 48, so storing it again keeps its bytes and with them its image id."""
    read = Reading(built(tmp_path), tmp_path / "run")
    digest = ImageStore(tmp_path / "pictures").add(tmp_path / "0.png").sha256
    expected = pair(record(0, digest=digest))
    made_up = {"question_id", "chosen_id", "rejected_id", "judgment_ids", "id", "read_from"}
    (one,) = read.pairs
    assert one.licence == "CC0", "a built pair's stands with its picture"
    made_up |= {"licence"}
    assert one.model_dump(exclude=made_up) == expected.model_dump(exclude=made_up)
    assert (one.leaf, one.rejected_finish, one.rationales) == (LEAF, "length", ("one", "two"))
    assert one.read_from == one.name == "train row 0 (in train-00000-of-00001.parquet)"
    assert stored_pictures(read.store)[one.image_id].is_file()


@pytest.mark.parametrize(
    ("row", "question"),
    [
        (trl_row(), "placeholder harmful question 0"),
        (trl_row(prompt="as text", chosen="a", rejected="b"), "as text"),
        (
            trl_row(
                prompt=[{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "as parts"}]}],
            ),
            "as parts",
        ),
        (spa_vl_row(), "placeholder harmful question 0"),
        ({"image": png(0), "question": "q", "chosen": "a", "rejected": "b"}, "q"),
    ],
    ids=["turns", "text", "parts", "spa_vl", "bytes"],
)
def test_both_kinds_of_columns_are_recognised(tmp_path: Path, row: dict[str, Any], question: str) -> None:
    read = Reading(write_rows(tmp_path / "data", [row]), tmp_path / "run")
    assert [one.question for one in read.pairs] == [question]
    assert read.pairs[0].chosen_verdict is None and read.pairs[0].question_type is None


CARD = "---\nlicense: {}\nlicense_name: my-terms\n---\n# Data\n"


@pytest.mark.parametrize(
    ("card", "settings", "licences"),
    [
        (None, {}, ["MIT", "unknown", "unknown"]),
        (CARD.format("cc-by-4.0"), {}, ["MIT", "cc-by-4.0", "cc-by-4.0"]),
        (CARD.format("[mit, cc0-1.0]"), {}, ["MIT", "mit, cc0-1.0", "mit, cc0-1.0"]),
        (CARD.format("other"), {}, ["MIT", "my-terms", "my-terms"]),
        (CARD.format("unknown"), {}, ["MIT", "unknown", "unknown"]),
        ("---\n: [\n---\n", {}, ["MIT", "unknown", "unknown"]),
        (CARD.format("cc-by-4.0"), {"licence": "bought"}, ["MIT", "bought", "bought"]),
    ],
)
def test_a_pair_has_the_licence_of_its_row_or_of_who_gives_the_data_or_of_its_card(
    tmp_path: Path, card: str | None, settings: dict[str, Any], licences: list[str]
) -> None:
    """Of three rows one names a licence, one a question mark, and one none."""
    rows = [spa_vl_row(number, licence=said) for number, said in enumerate(("MIT", "?", None))]
    folder = write_rows(tmp_path / "data", rows)
    if card is not None:
        (folder / "README.md").write_text(card)
    read = Reading(folder, tmp_path / "run", **settings)
    assert [one.licence or "unknown" for one in read.pairs] == licences
    assert read.manifest.facts["licences"] == {one: licences.count(one) for one in sorted(set(licences))}


def test_rows_about_the_same_picture_share_an_id_and_a_file(tmp_path: Path) -> None:
    """Two pictures under four names."""
    rows = [spa_vl_row(number, image={"bytes": png(number % 2), "path": f"{number}.png"}) for number in range(4)]
    read = Reading(write_rows(tmp_path / "data", rows), tmp_path / "run")
    names = [one.image_id for one in read.pairs]
    assert names[0] == names[2] != names[1] == names[3]
    assert stored_pictures(read.store).keys() == set(names)
    assert (read.manifest.facts["pairs"], read.manifest.facts["pictures"]) == (4, 2)


def test_pictures_may_lie_beside_the_data_under_their_names(tmp_path: Path) -> None:
    rows = [{name: value for name, value in spa_vl_row(number).items() if name != "image"} for number in range(3)]
    rows[2]["image_name"] = "../outside.png"
    folder = write_rows(tmp_path / "data", rows)
    (tmp_path / "outside.png").write_bytes(png(2))
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "0.png").write_bytes(png(0))
    assert "data.images" in complaint(folder, tmp_path / "none") and "images is not a folder" in complaint(
        folder, tmp_path / "none"
    )
    read = Reading(folder, tmp_path / "run", images=tmp_path / "pictures")
    assert len(read.pairs) == 1 and read.manifest.counts.by_reason == {"missing_picture": 2}


def test_labels_types_classes_and_finishes_are_taken_where_they_are(tmp_path: Path) -> None:
    said = {"chosen_verdict": True, "rejected_verdict": False, "question_type": "hardq", "rejected_finish": "length"}
    rows = [spa_vl_row(0, class1="a", class2="b", class3="c", extra=1, **said)]
    read = Reading(write_rows(tmp_path / "data", rows), tmp_path / "run")
    one = read.pairs[0]
    assert (one.chosen_verdict, one.rejected_verdict, one.rejected_finish) == ("safe", "unsafe", "length")
    assert (one.question_type, one.leaf) == ("hard_question", "a/b/c")
    assert read.manifest.facts["columns_ignored"] == ["extra"]


def test_every_row_that_cannot_be_used_is_counted_with_its_reason_and_the_first_of_each_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        trl_row(0),
        trl_row(1, images=[]),
        trl_row(2, images=[{"bytes": b"no picture", "path": None}]),
        trl_row(3, images=[{"bytes": png(0, side=3), "path": None}]),
        trl_row(4, images=[{"bytes": png(one), "path": None} for one in (0, 1)]),
        trl_row(5, chosen=[{"role": "assistant", "content": " "}]),
        trl_row(6, rejected=[]),
        trl_row(7, rejected=[{"role": "assistant", "content": "I would rather not. "}]),
        trl_row(8, prompt=[{"role": "user", "content": ""}]),
        trl_row(9, prompt=[{"role": "system", "content": "x"}, {"role": "user", "content": "y"}]),
    ]
    read = Reading(write_rows(tmp_path / "data", rows), tmp_path / "run")
    assert len(read.pairs) == 1
    assert read.manifest.counts.by_reason == {
        "empty_answer": 2,
        "empty_question": 1,
        "no_picture": 1,
        "same_answers": 1,
        "several_pictures": 1,
        "several_turns": 1,
        "too_small": 1,
        "unreadable": 1,
    }
    assert (read.manifest.counts.failures, read.manifest.counts.dropped) == (1, 8)
    said = capsys.readouterr().err
    assert "pairs: 9 of 10 rows are left out (" in said and "no_picture, first train/1: there is no picture" in said
    assert "empty_answer, first train/5: " in said and "train/6" not in said


def test_the_limit_takes_the_first_rows_of_all_files(tmp_path: Path) -> None:
    for part in range(3):
        rows = [trl_row(2 * part + one) for one in range(2)]
        write_rows(tmp_path / "data", rows, f"train-0000{part}-of-00003.parquet")
    write_rows(tmp_path / "data", [trl_row(9)], "test-00000-of-00001.parquet")
    write_rows(tmp_path / "data" / "validation", [trl_row(8)], "part-0.parquet")
    read = Reading(tmp_path / "data", tmp_path / "run", limit=3)
    assert [one.question[-1] for one in read.pairs] == ["0", "1", "2"]
    assert len(Reading(tmp_path / "data", tmp_path / "other", split="validation").pairs) == 1


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"text": "x", "label": 1}], ["a picture", "prompt or question", "chosen", "its columns are text, label"]),
        ([{"question": "q", "chosen": "a", "rejected": "b"}], ["no column for a picture", "its columns are question"]),
        ([trl_row(chosen=1, rejected=2)], ["column `chosen` holds int64", "chat turns"]),
        ([trl_row(chosen_verdict="perhaps", rejected_verdict="safe")], ["train/0", "`chosen_verdict`", "perhaps"]),
        ([trl_row(images=[]), trl_row(images=[])], ["none of 2 rows", "no_picture 2"]),
    ],
)
def test_data_that_cannot_be_trained_on_is_one_clear_error(
    tmp_path: Path, rows: list[dict[str, Any]], words: list[str]
) -> None:
    text = complaint(write_rows(tmp_path / "data", rows), tmp_path / "run")
    assert all(word in text for word in words), text


def test_a_split_or_a_file_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "neither a folder nor like a hub id" in complaint(tmp_path / "nowhere", tmp_path / "run")
    assert "no *.parquet" in complaint(tmp_path / "empty", tmp_path / "run")
    folder = write_rows(tmp_path / "data", [trl_row()])
    assert "its splits are train" in complaint(folder, tmp_path / "run", split="validation")
    (folder / "train-00000-of-00001.parquet").rename(folder / "train-00001-of-00003.parquet")
    lacks = f"data.path: {folder} lacks train-00000-of-00003.parquet: 1 of 3 parts"
    assert lacks in complaint(folder, tmp_path / "run")
    (folder / "train-00001-of-00003.parquet").rename(folder / "train-00001.parquet")
    assert len(Reading(folder, tmp_path / "alone").pairs) == 1
    (folder / "train-00001.parquet").unlink()
    write_rows(folder, [spa_vl_row()])
    put_latin_1(folder / "train-00000-of-00001.parquet", "question")
    assert "cannot be read ('utf-8' codec" in complaint(folder, tmp_path / "run")
    (folder / "train-00000-of-00001.parquet").write_bytes(b"torn")
    assert "cannot be read" in complaint(folder, tmp_path / "run")


def test_reading_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """The first attempt meets a bad label in its second lot of 100 rows; the first lot is kept."""
    rows = [trl_row(number, rejected_verdict="unsafe") for number in range(120)]
    bad = [*rows[:110], trl_row(110, rejected_verdict="perhaps"), *rows[111:]]
    assert "train/110" in complaint(write_rows(tmp_path / "data", bad), tmp_path / "run")
    assert len((tmp_path / "run" / "pairs" / "results.jsonl").read_bytes().splitlines()) == 100
    assert len(Reading(write_rows(tmp_path / "data", rows), tmp_path / "run").pairs) == 120


def test_a_mark_of_the_picture_at_an_end_of_the_question_is_taken_away_and_counted(tmp_path: Path) -> None:
    questions = [
        "<image>\nWhat is it?",
        "What is it? <image>",
        "<|vision_start|><|image_pad|><|vision_end|>What is it?",
        "<start_of_image> What is it?",
        "What is it?",
    ]
    read = Reading(write_rows(tmp_path / "data", [trl_row(prompt=one) for one in questions]), tmp_path / "run")
    assert [one.question for one in read.pairs] == ["What is it?"] * 5
    assert read.manifest.facts["picture_marks_taken_away"] == 4


def test_a_mark_within_a_question_or_alone_makes_the_row_none_and_is_counted(tmp_path: Path) -> None:
    questions = ["What does <image> mean?", "<image>\n<image>\nWhich is it?", "<image>\n", "What is it?"]
    read = Reading(write_rows(tmp_path / "data", [trl_row(prompt=one) for one in questions]), tmp_path / "run")
    assert [one.question for one in read.pairs] == ["What is it?"]
    assert read.manifest.counts.by_reason == {"picture_mark": 2, "empty_question": 1}
    assert read.manifest.facts["picture_marks_taken_away"] == 0


def test_a_row_is_named_by_its_place_in_the_split_and_its_file(tmp_path: Path) -> None:
    for part in range(2):
        rows = [trl_row(2 * part + one) for one in range(2)]
        write_rows(tmp_path / "data", rows, f"train-0000{part}-of-00002.parquet")
    read = Reading(tmp_path / "data", tmp_path / "run")
    assert [one.read_from for one in read.pairs] == [
        f"train row {number} (in train-0000{number // 2}-of-00002.parquet)" for number in range(4)
    ]


def test_a_sample_is_taken_from_all_over_the_split_and_within_its_limit(tmp_path: Path) -> None:
    """Ten files of 3 rows: 8 rows from every second file are 2 from each of 5; a limit of 7 rows ends in the third."""
    for part in range(10):
        rows = [trl_row(3 * part + one) for one in range(3)]
        write_rows(tmp_path / "data", rows, f"train-{part:05}-of-00010.parquet")

    def sampled(**settings: Any) -> list[int]:
        config = DataConfig(path=str(tmp_path / "data"), **settings)
        pairs, rows = sample_pairs(config, find_split(config), ImageStore(tmp_path / "pictures"), 8)
        assert rows == len(pairs)
        return [int(one.read_from.split()[2]) for one in pairs]

    assert sampled() == [0, 1, 6, 7, 12, 13, 18, 19, 24, 25]
    assert sampled(limit=7) == [0, 1, 2, 3, 4, 5, 6]


def test_how_much_better_an_answer_is_said_to_be_is_read_where_a_row_says_it(tmp_path: Path) -> None:
    rows = [spa_vl_row(0) | {"strength": 2.5}, spa_vl_row(1) | {"strength": None}]
    read = Reading(write_rows(tmp_path / "data", rows), tmp_path / "run")
    assert [one.strength for one in read.pairs] == [2.5, None]
    assert "strength" in read.manifest.facts["columns_read"]
