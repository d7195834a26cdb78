"""Hugging Face datasets: which columns say what, what is wrong with them, and the station on one."""

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, Features, Value
from datasets import Image as ImageFeature
from PIL import Image
from tests.images.test_collect import TAXONOMY, WordCounts, blocks

from spavl.errors import UserError
from spavl.image_config import DatasetSource, ImagesConfig, TableSource
from spavl.images import check_source, collect
from spavl.images.hub_dataset import OpenDataset, open_dataset
from spavl.images.table import check_table, table_candidates
from spavl.records import Failure, ImageRecord
from spavl.store import ImageStore, StageDirectory

FEATURES = Features({"shot": ImageFeature(), "text": Value("string"), "license": Value("string"), "n": Value("int64")})


def dataset(folder: Path, captions: list[str], **settings: Any) -> DatasetSource:
    """Writes a dataset as its own library does, two rows a row group, and returns a source of it."""
    rows = {
        "shot": [blocks(seed) for seed in range(len(captions))],
        "text": captions,
        "license": ["MIT"] + [None] * (len(captions) - 1),
        "n": list(range(len(captions))),
    }
    (folder / "data").mkdir(parents=True)
    Dataset.from_dict(rows, features=FEATURES).to_parquet(
        folder / "data" / "train-00000-of-00001.parquet", batch_size=2
    )
    return DatasetSource(kind="dataset", path=str(folder), **settings)


def write(folder: Path, columns: dict[str, Any], name: str = "train.parquet") -> DatasetSource:
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), folder / name)
    return DatasetSource(kind="dataset", path=str(folder))


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    blocks(seed).save(buffer, "PNG")
    return buffer.getvalue()


def content(source: DatasetSource, index: int) -> Any:
    opened = open_dataset(source)
    return asyncio.run(opened.content([*opened.listed()][index]))


def test_the_image_column_is_found_by_its_feature_and_captions_are_read_with_what_describes_them(
    tmp_path: Path,
) -> None:
    source = dataset(tmp_path / "pics", ["red apple", "bell", "pear"], keep=("n",), licence="CC0")
    opened = open_dataset(source)
    assert [(one.caption, one.licence, dict(one.columns)) for one in opened.listed()] == [
        ("red apple", "MIT", {"n": 0}),
        ("bell", "CC0", {"n": 1}),
        ("pear", "CC0", {"n": 2}),
    ]
    assert [one.item for one in opened.listed()] == ["pics/train/0", "pics/train/1", "pics/train/2"]
    for index in (2, 0, 1):
        with Image.open(io.BytesIO(content(source, index))) as picture:
            assert picture.tobytes() == blocks(index).tobytes()


def test_the_station_collects_from_a_dataset(tmp_path: Path) -> None:
    """Four rows, of which the stone is near no leaf; one picture is damaged."""
    columns = {"image": [png(0), png(1), b"words", png(3)], "caption": ["red apple", "bell", "pear", "stone"]}
    config = ImagesConfig(source=write(tmp_path / "pics", columns))
    stage = StageDirectory(tmp_path / "run" / "images", {}, {})
    store = ImageStore(tmp_path / "run" / "pictures")
    manifest = asyncio.run(collect(config, TAXONOMY, stage, store, WordCounts()))
    assert manifest.counts.by_reason == {"no_leaf": 1, "unreadable": 1}
    assert {one.caption: one.source_name for one in stage.records(ImageRecord)} == {
        "red apple": "train/0",
        "bell": "train/1",
    }
    assert [one.size for one in stage.records(ImageRecord)] == [len(png(0)), len(png(1))]


@pytest.mark.parametrize(
    ("cell", "outcome"),
    [
        ({"bytes": b"abc", "path": "x.png"}, b"abc"),
        ({"bytes": None, "path": "inside.png"}, "inside.png"),
        ({"bytes": None, "path": "missing.png"}, "missing_picture"),
        ({"bytes": None, "path": "../secret.png"}, "missing_picture"),
        ({"bytes": None, "path": "/etc/hostname"}, "missing_picture"),
        ({"bytes": None, "path": "in\0side.png"}, "missing_picture"),
        ({"bytes": None, "path": "n" * 300}, "missing_picture"),
        ({"bytes": None, "path": None}, "no_picture"),
    ],
)
def test_a_cell_holds_a_picture_or_names_a_file_of_the_folder(tmp_path: Path, cell: Any, outcome: bytes | str) -> None:
    (tmp_path / "secret.png").write_bytes(b"secret")
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    source = write(tmp_path / "pics", {"image": pa.array([cell], kind), "caption": ["bell"]})
    (tmp_path / "pics" / "inside.png").write_bytes(b"inside")
    got = content(source, 0)
    if isinstance(got, Failure):
        assert got.reason == outcome
    else:
        assert (got.name if isinstance(got, Path) else got) == outcome


def test_memory_and_order_do_not_depend_on_row_groups(tmp_path: Path) -> None:
    """Fifty rows in groups of twenty, read backwards: each gives its own bytes."""
    folder = tmp_path / "pics"
    folder.mkdir()
    columns = {"image": [b"%d" % row for row in range(50)], "caption": ["bell"] * 50}
    pq.write_table(pa.table(columns), folder / "train.parquet", row_group_size=20)
    opened = open_dataset(DatasetSource(kind="dataset", path=str(folder)))
    assert isinstance(opened, OpenDataset)
    rows = [*opened.listed()]
    for row in reversed(range(50)):
        assert asyncio.run(opened.content(rows[row])) == b"%d" % row


def test_an_imagefolder_is_read_as_one_its_split_as_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "pics" / "train"
    folder.mkdir(parents=True)
    blocks(1).save(folder / "a.png")
    (folder / "metadata.jsonl").write_text(json.dumps({"file_name": "a.png", "text": "a bell"}))
    opened = open_dataset(DatasetSource(kind="dataset", path=str(tmp_path / "pics"), licence="MIT"))
    assert [(one.caption, one.licence, one.name) for one in opened.listed()] == [("a bell", "MIT", "a.png")]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"image_column": "photo"},
            "image_column: there is no column 'photo'; there are 'shot', 'text', 'license', 'n'",
        ),
        ({"image_column": "n"}, "image_column: column 'n' holds int64, not one picture a row"),
        ({"caption_column": "caption"}, "caption_column: there is no column 'caption'; there are 'shot', 'text'"),
        ({"split": "test"}, "split: "),
    ],
)
def test_a_wrong_column_or_split_is_refused_with_those_that_are(
    tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    source = dataset(tmp_path / "pics", ["bell"], **settings)
    for read in (open_dataset, lambda one: check_source(ImagesConfig(source=one))):
        with pytest.raises(UserError) as caught:
            read(source)
        assert f"images.source.{said}" in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_no_dataset_of_captioned_pictures_is_refused(tmp_path: Path) -> None:
    def complaint(source: DatasetSource) -> str:
        said = []
        for read in (open_dataset, lambda one: check_source(ImagesConfig(source=one))):
            with pytest.raises(UserError) as caught:
                read(source)
            said.append(str(caught.value))
        assert said[0] == said[1] and "\n" not in said[0]
        return said[0]

    assert "no column is known to hold captions; there are 'image'" in complaint(
        write(tmp_path / "a", {"image": [b"x"]})
    )
    assert "no column is known to hold pictures" in complaint(write(tmp_path / "b", {"caption": ["x"]}))
    assert "has no rows" in complaint(write(tmp_path / "c", {"image": pa.array([], pa.binary()), "caption": pa.array([], pa.string())}))  # fmt: skip # noqa: E501
    torn = write(tmp_path / "d", {"image": [b"x"], "caption": ["x"]})
    (tmp_path / "d" / "train.parquet").write_bytes((tmp_path / "d" / "train.parquet").read_bytes()[:-9])
    assert "images.source.path: " in complaint(torn) and "cannot be read" in complaint(torn)
    (tmp_path / "e").mkdir()
    empty = DatasetSource(kind="dataset", path=str(tmp_path / "e"))
    assert "holds neither Parquet files nor pictures" in complaint(empty)
    named = DatasetSource(kind="dataset", path=str(tmp_path / "e"), caption_column="text")
    assert "caption_column: " in complaint(named) and "an imagefolder has no columns" in complaint(named)


def test_a_check_and_a_collection_see_that_the_column_of_captions_holds_none(tmp_path: Path) -> None:
    source = write(tmp_path / "a", {"image": [b"x"] * 2, "caption": [None, " "]})
    said = r"caption_column: none of the 2 rows of .* has text in column 'caption'"
    with pytest.raises(UserError, match=said):
        list(open_dataset(source).listed())
    with pytest.raises(UserError, match=said):
        check_source(ImagesConfig(source=source))


def test_a_path_that_is_no_folder_and_no_hub_id_is_found_without_a_network(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is neither a folder nor like a hub id"):
        check_source(ImagesConfig(source=DatasetSource(kind="dataset", path=str(tmp_path / "none"))))
    check_source(ImagesConfig(source=DatasetSource(kind="dataset", path="owner/name")))


def test_all_damaged_files_are_named_at_once_of_a_dataset_and_of_a_table_of_addresses(tmp_path: Path) -> None:
    for number in range(4):
        columns = {"image": [b"x"], "caption": ["bell"], "url": ["http://h/a.png"]}
        source = write(tmp_path, columns, f"train-{number:05}-of-00004.parquet")
    torn = [tmp_path / f"train-{number:05}-of-00004.parquet" for number in (1, 3)]
    for path in torn:
        path.write_bytes(path.read_bytes()[:50])
    table = TableSource(kind="table", path=tmp_path)
    for read in (lambda: open_dataset(source), lambda: list(table_candidates(table)), lambda: check_table(table)):
        with pytest.raises(UserError) as caught:
            read()
        assert [line.partition(" cannot be read")[0] for line in str(caught.value).splitlines()] == [
            f"images.source.path: {path}" for path in torn
        ]
