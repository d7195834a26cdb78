"""The contamination check: edited copies and prompts that were touched up are found, and nothing else."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tests.dataset.pictures_for_copies import edited, encoded, scene
from tests.dataset.preference_rows import put_latin_1, spa_vl_row, trl_row, write_rows

from spavl.dataset.contamination import KINDS, CheckLimits, Contamination, check_contamination
from spavl.dataset.fingerprints import find_lookalikes, fingerprint
from spavl.errors import UserError
from spavl.texts.near import TextLimits, find_same_texts

EDITS = ("resized", "recompressed", "mirrored", "cropped", "cropped_mirrored")
LONG = "please tell me what the person beside the red placeholder sign is holding in the left hand"


def rows_of(numbers: range | list[int]) -> list[dict[str, Any]]:
    """Returns a dataset's rows, each with a picture and a prompt of its own."""
    return [
        trl_row(
            images=[{"bytes": encoded(scene(number)), "path": None}],
            prompt=[{"role": "user", "content": f"placeholder prompt {number * 7919} about scene {number}"}],
        )
        for number in numbers
    ]


def checked(dataset: Path, benchmark: Path, **limits: Any) -> Contamination:
    return check_contamination(dataset, [benchmark], CheckLimits(**limits))


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_copy_looks_like_its_picture_from_either_side_and_others_do_not(edit: str) -> None:
    """30 pictures and 30 copies: all 30 pairs for plain edits, at least 28 for cuts, and none of the 870 others."""
    originals = np.stack([fingerprint(encoded(scene(number))) for number in range(30)])
    copies = np.stack([fingerprint(edited(scene(number), edit, number)) for number in range(30)])
    for left, right in ((originals, copies), (copies, originals)):
        found = find_lookalikes(left, right, 8)
        assert (found.left == found.right).all()
        assert len(found.left) >= (28 if "cropped" in edit else 30)


def test_pictures_of_one_colour_have_no_looks_to_compare() -> None:
    blank = np.stack([fingerprint(encoded(Image.new("RGB", (64, 48), colour))) for colour in ("black", "gold")])
    assert len(find_lookalikes(blank, blank, 32).left) == 0


@pytest.mark.parametrize(
    ("text", "kind", "distance"),
    [
        (f"  {LONG.upper()}?!", "text_exact", 0.0),
        # 17 words are 10 runs of eight; with the first two words gone, 8 of them are left
        (
            " ".join(LONG.split()[2:]) + ", and why might anybody at all ever want to hold such a curious thing there",
            "text_ngram",
            0.2,
        ),
        # one of 17 words: of ten runs of eight two are left, of the letters most
        (LONG.replace(" red ", " big "), "text_minhash", None),
        ("what is the colour of the sky", None, None),
        (" ".join(reversed(LONG.split())), None, None),
    ],
)
def test_prompts_are_the_same_by_words_runs_or_letters(text: str, kind: str | None, distance: float | None) -> None:
    found = find_same_texts(["an unrelated sentence about gardens and rain", text], [LONG, "another one"], TextLimits())
    assert [(match.left, match.right, match.kind) for match in found] == ([(1, 0, kind)] if kind else [])
    if distance is not None:
        assert found[0].distance == pytest.approx(distance)


def test_a_text_without_words_is_the_same_as_none() -> None:
    assert find_same_texts(["", "?!"], ["", "..."], TextLimits()) == []


def test_each_finding_names_its_rows_kind_and_distance(tmp_path: Path) -> None:
    """Row 1 has the benchmark's first picture, rows 2 and 3 a smaller copy of the second, row 4 a prompt."""
    rows = rows_of(range(6))
    small = edited(scene(102), "resized")
    rows[1] |= {"images": [{"bytes": encoded(scene(101)), "path": None}]}
    rows[2] |= {"images": [{"bytes": small, "path": None}]}
    rows[3] |= {"images": [{"bytes": small, "path": None}]}
    rows[4] |= {"prompt": [{"role": "user", "content": LONG}]}
    dataset = write_rows(tmp_path / "data" / "data", rows).parent
    benchmark = tmp_path / "benchmark"
    benchmark.mkdir()
    for number in (101, 102):
        (benchmark / f"{number}.png").write_bytes(encoded(scene(number)))
    lines = [{"file_name": "101.png", "prompt": "placeholder asked of the first"}, {"question": LONG}]
    (benchmark / "metadata.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    found = checked(dataset, benchmark)
    file = "data/train-00000-of-00001.parquet"
    assert [(one.kind, one.rows, one.benchmark_rows) for one in found.findings] == [
        ("image_exact", (f"{file}#1",), ("metadata.jsonl#0",)),
        ("image_near", (f"{file}#2", f"{file}#3"), ("102.png",)),
        ("text_exact", (f"{file}#4",), ("metadata.jsonl#1",)),
    ]
    counts = found.counts()
    assert (counts["rows"], counts["contaminated_rows"]) == (6, 4)
    assert (counts["benchmark_rows"], counts["benchmark_rows_met"]) == (3, 3)
    assert counts["by_kind"]["image_near"] == {"findings": 1, "rows": 2}
    assert [one.kind for one in checked(dataset, benchmark, kinds=("text_exact",)).findings] == ["text_exact"]


def test_a_benchmark_may_be_parquet_with_spa_vls_columns_and_pictures_that_cannot_be_read_are_counted(
    tmp_path: Path,
) -> None:
    dataset = write_rows(tmp_path / "data", rows_of(range(3)))
    rows = [
        spa_vl_row(0, image={"bytes": edited(scene(2), "mirrored"), "path": "a.png"}),
        spa_vl_row(1, image={"bytes": b"no picture", "path": "b.png"}),
    ]
    found = checked(dataset, write_rows(tmp_path / "benchmark", rows))
    assert [(one.kind, one.benchmark_rows) for one in found.findings] == [
        ("image_near", ("train-00000-of-00001.parquet#0",))
    ]
    assert found.unreadable_pictures == 1


def spavl(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "spavl", *arguments], capture_output=True, text=True, timeout=120)


def test_the_command_reports_every_finding_and_writes_the_clean_dataset_beside_it(tmp_path: Path) -> None:
    rows = rows_of(range(250))
    dataset = write_rows(tmp_path / "data", rows[:150])
    write_rows(dataset, rows[150:], "validation-00000-of-00001.parquet")
    (dataset / "README.md").write_text("# Card\n")
    before = {path: path.read_bytes() for path in dataset.rglob("*") if path.is_file()}
    benchmark = tmp_path / "benchmark"
    benchmark.mkdir()
    for number, edit in ((7, "mirrored"), (149, "recompressed"), (200, "cropped")):
        (benchmark / f"{number}.bin.png").write_bytes(edited(scene(number), edit, 1))
    done = spavl("contamination", str(dataset), "--against", str(benchmark), "--remove", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["contaminated_rows"], result["kept"], result["removed"]) == (3, 247, 3)
    report = json.loads(Path(result["report"]).read_text())
    assert report["counts"]["by_kind"]["image_near"] == {"findings": 3, "rows": 3}
    assert Counter(row for one in report["findings"] for row in one["rows"]) == {
        "train-00000-of-00001.parquet#7": 1,
        "train-00000-of-00001.parquet#149": 1,
        "validation-00000-of-00001.parquet#50": 1,
    }
    assert {path: path.read_bytes() for path in before} == before
    clean = tmp_path / "data-clean"
    table = pq.read_table(clean / "train-00000-of-00001.parquet")
    assert table.to_pylist() == [
        row
        for number, row in enumerate(pq.read_table(dataset / "train-00000-of-00001.parquet").to_pylist())
        if number not in (7, 149)
    ]
    assert len(pq.read_table(clean / "validation-00000-of-00001.parquet")) == 99
    assert "3 of 250 rows were left out" in (clean / "README.md").read_text()
    assert checked(clean, benchmark).findings == []
    again = spavl("contamination", str(dataset), "--against", str(benchmark), "--remove")
    assert again.returncode == 2 and "data-clean is there already" in again.stderr


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("no folder", ["nowhere", "is not a folder"]),
        ("itself", ["--against", "the dataset itself"]),
        ("empty", ["holds nothing to compare"]),
        ("other table", ["holds nothing to compare"]),
        ("torn", ["cannot be read", "Get the file again"]),
        ("part", ["lacks a-00001-of-00002.parquet", "1 of 2 parts"]),
        ("latin-1", ["a.parquet cannot be read", "'utf-8' codec"]),
        ("columns", ["no column of pictures", "its columns are other"]),
        ("json", ["prompts.json cannot be read", "list of objects"]),
        ("csv", ["prompts.csv cannot be read", "row 1, which begins in line 2", "not closed"]),
        ("name", ["entry 0", "'../x.png' is no file of the folder"]),
    ],
)
def test_what_cannot_be_compared_is_one_clear_error(tmp_path: Path, case: str, words: list[str]) -> None:
    dataset, benchmark = write_rows(tmp_path / "data", rows_of([0])), tmp_path / "benchmark"
    benchmark.mkdir()
    written = {
        "torn": ("a.parquet", "torn"),
        "other table": ("a.csv", "other,column\n1,2\n"),
        "csv": ("prompts.csv", 'prompt\n"one\ntwo\n'),
        "json": ("prompts.json", '{"a": 1}'),
        "name": ("rows.jsonl", '{"image": "../x.png", "prompt": "placeholder"}'),
    }
    if case in written:
        (benchmark / written[case][0]).write_text(written[case][1])
    if case == "part":
        write_rows(benchmark, [{"question": "placeholder"}], "a-00000-of-00002.parquet")
    if case == "latin-1":
        put_latin_1(write_rows(benchmark, [{"question": "placeholder"}], "a.parquet") / "a.parquet", "question")
    if case == "columns":
        write_rows(benchmark, [{"other": 1}])
    if case == "name":
        (tmp_path / "x.png").write_bytes(encoded(scene(0)))
    chosen = {"no folder": tmp_path / "nowhere", "itself": dataset}.get(case, benchmark)
    with pytest.raises(UserError) as caught:
        checked(dataset, chosen)
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_an_unknown_kind_is_one_clear_error(tmp_path: Path) -> None:
    done = spavl("contamination", str(tmp_path), "--against", str(tmp_path), "--kinds", "image_exakt")
    assert done.returncode == 2
    assert "image_exakt" in done.stderr and "image_near" in done.stderr and len(done.stderr.splitlines()) == 1


def quarter_cut(number: int) -> bytes:
    """Returns a scene without a quarter of both sides, which is more than the hashes of its parts can bear."""
    picture = scene(number)
    width, height = picture.size
    return encoded(picture.crop((0, 0, 3 * width // 4, 3 * height // 4)))


def test_vectors_are_a_measure_of_their_own_and_a_pair_is_found_once_by_the_strongest(tmp_path: Path) -> None:
    """Row 0's picture is in the benchmark as it is, row 1's recompressed; row 2's has only its vector there."""
    dataset = write_rows(tmp_path / "data", rows_of(range(3)))
    benchmark = tmp_path / "benchmark"
    benchmark.mkdir()
    (benchmark / "0.png").write_bytes(encoded(scene(0)))
    (benchmark / "1.png").write_bytes(edited(scene(1), "recompressed"))
    (benchmark / "2.png").write_bytes(quarter_cut(2))

    def same(contents: Sequence[bytes]) -> np.ndarray:
        """Gives picture 2 and its cut one vector, and everything else a vector of its own."""
        known = {encoded(scene(2)): 0, quarter_cut(2): 0, encoded(scene(0)): 1}
        places = [known.get(content, 2 + hash(content) % 50) for content in contents]
        return np.eye(60, dtype=np.float32)[places]

    found = check_contamination(dataset, [benchmark], CheckLimits(kinds=KINDS), same)
    assert [(one.kind, one.benchmark_rows, one.distance) for one in found.findings] == [
        ("image_exact", ("0.png",), 0.0),
        ("image_near", ("1.png",), found.findings[1].distance),
        ("image_embedding", ("2.png",), 0.0),
    ]
    assert found.counts()["by_kind"]["image_embedding"] == {"findings": 1, "rows": 1}
    alone = check_contamination(dataset, [benchmark], CheckLimits(kinds=("image_embedding",)), same)
    assert [one.benchmark_rows for one in alone.findings] == [("0.png",), ("2.png",)]
    assert list(alone.counts()["by_kind"]) == ["image_embedding"]


def test_without_an_encoder_vectors_are_not_counted_as_none_found(tmp_path: Path) -> None:
    dataset, benchmark = write_rows(tmp_path / "data", rows_of([0])), write_rows(tmp_path / "b", rows_of([1]))
    assert "image_embedding" not in checked(dataset, benchmark).counts()["by_kind"]
    with pytest.raises(UserError, match="--encoder packaged"):
        checked(dataset, benchmark, kinds=("image_embedding",))


def test_the_command_compares_vectors_of_the_packaged_encoder(tmp_path: Path) -> None:
    """Of soft colours alone, all drawn alike, the encoder makes little; its copy is still the nearest."""
    dataset = write_rows(tmp_path / "data", rows_of(range(4)))
    benchmark = tmp_path / "benchmark"
    benchmark.mkdir()
    (benchmark / "2.png").write_bytes(edited(scene(2), "resized"))
    vectors = ("--encoder", "packaged", "--image-cosine", "0.8", "--kinds", "image_embedding")
    done = spavl("contamination", str(dataset), "--against", str(benchmark), *vectors, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(Path(json.loads(done.stdout)["report"]).read_text())
    assert report["settings"]["image_cosine"] == 0.8
    nearest = min(report["findings"], key=lambda one: one["distance"])
    assert (nearest["kind"], nearest["rows"]) == ("image_embedding", ["train-00000-of-00001.parquet#2"])


def test_an_encoder_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    dataset, benchmark = write_rows(tmp_path / "data", rows_of([0])), write_rows(tmp_path / "b", rows_of([1]))
    done = spavl("contamination", str(dataset), "--against", str(benchmark), "--encoder", str(tmp_path))
    assert done.returncode == 2 and "--encoder" in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
