"""Builds the dataset's folder: Parquet files in the hub's layout, a card, and a line per pair that says its split."""

import functools
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

import pyarrow as pa

from spavl.config import SplitName
from spavl.dataset.card import dataset_card
from spavl.dataset.croissant import write_croissant
from spavl.dataset.image_info import write_image_info
from spavl.dataset.rows import Picture, pair_schema, pair_table, parquet_bytes, question_schema, question_table
from spavl.dataset.splits import Split, Splits
from spavl.dataset.turns import Turn, in_turn
from spavl.errors import RunError, UserError
from spavl.execution import LazyItems
from spavl.models.ask import outcome
from spavl.records import Caption, Failure, ImageRecord, PreferencePair, Question, QuestionCheck, Record
from spavl.store import ImageStore, Manifest, Outcome, Places, StageDirectory
from spavl.store.files import write_atomically

ROW_GROUP = 100
"""Rows of one Parquet row group; the hub's viewer asks for about this many where rows hold pictures."""


R = TypeVar("R", PreferencePair, Question)
T = TypeVar("T")
PairSplit = Literal["train", "validation"]


class Material(NamedTuple):
    """What a dataset is made of."""

    images: Mapping[str, ImageRecord]
    """By id."""
    questions: Collection[Question]
    pairs: Collection[PreferencePair]
    captions: Mapping[str, Caption | Failure] = {}
    """Image id -> its written caption, or why there is none; empty where no model was asked."""
    checks: Collection[QuestionCheck] = ()
    """What was found about the questions."""


class Chosen(Collection[T]):
    """Some of many rows, in their order, looked for anew each time.

    Args:
        rows: All rows.
        wanted: Says which.
    """

    def __init__(self, rows: Collection[T], wanted: Callable[[T], bool]) -> None:
        self._rows, self._wanted = rows, wanted
        self._size = sum(1 for _ in self)

    def __iter__(self) -> Iterator[T]:
        """Yields the rows."""
        return filter(self._wanted, self._rows)

    def __len__(self) -> int:
        """Returns how many there are."""
        return self._size

    def __contains__(self, row: object) -> bool:
        """Says whether a row of these rows is one of them."""
        return self._wanted(row)  # type: ignore[arg-type]  # a collection is asked for any object


class DatasetRow(Record):
    """Where a preference pair stands in the dataset."""

    prefix: ClassVar[str] = "row"
    made_from: ClassVar[tuple[str, ...]] = ("pair_id", "split")

    pair_id: str
    split: Literal["train", "validation", "test"]


def build_dataset(material: Material, splits: Splits, store: ImageStore, stage: StageDirectory) -> Manifest:
    """Runs the station: one item per pair.

    Raises:
        UserError: No pair is left for training.
        RunError: A pair's picture belongs to the test split, or the disk is full.
    """
    by_split = _pairs_of_splits(material.pairs, splits)
    asked = sum(splits[one.image_id] == "test" for one in material.questions)
    test = benchmark_questions(material.questions, splits)
    rows_of_splits = write_files(stage.path, by_split, test, material, store)
    stage.append_missing(_outcomes(material.pairs, by_split, splits))
    facts: dict[str, Any] = dict(rows_of_splits)
    facts["test_questions_left_out"] = asked - sum(map(len, test.values()))
    pictures = {split: len(splits.of(split)) for split in ("train", "validation", "test")}
    alike = {
        "clusters": len(splits.clusters),
        "pictures": sum(splits.clusters),
        "largest": max(splits.clusters, default=0),
    }
    items = LazyItems(len(material.pairs), lambda: (pair.id for pair in material.pairs), str)
    return stage.finish(items, facts=facts | {"pictures": pictures, "look_alikes": alike})


def write_files(
    folder: Path,
    pairs: Mapping[str, Collection[PreferencePair]],
    questions: Mapping[str, Collection[Question]],
    material: Material,
    store: ImageStore,
) -> dict[str, int]:
    """Writes the Parquet files, the card and the Croissant file; what an empty split had before is removed.

    Args:
        folder: The dataset's folder.
        pairs: Split -> its pairs.
        questions: Test split (`harm`, `help`) -> its questions.
        material: What the rows say about pictures and questions.
        store: Where the pictures lie.

    Returns:
        Split -> rows.

    Raises:
        RunError: The disk is full.
    """

    def read(image: ImageRecord) -> bytes:
        return store.path(image.sha256, image.format).read_bytes()

    def picture(image_id: str) -> Picture:
        return Picture(material.images[image_id], material.captions.get(image_id))

    for split, members in pairs.items():
        _write(folder, split, pair_schema(), (pair_table(some, picture, read) for some in _row_groups(members)))
    for name, asked in questions.items():
        tables = (question_table(some, picture, read) for some in _row_groups(asked))
        _write(folder, name, question_schema(), tables)
    test = {name: asked for name, asked in questions.items() if asked}
    used = {one.image_id for rows in pairs.values() for one in rows}
    used |= {one.image_id for asked in test.values() for one in asked}
    pictures = LazyItems(len(used), lambda: (image for image in material.images if image in used), picture)
    write_atomically(folder / "README.md", dataset_card(pairs, test, pictures, material.checks).encode())
    write_image_info(folder, pictures.values())
    licences = sorted({one.record.licence or "unknown" for one in pictures.values()})
    number = sum(map(len, pairs.values()))
    write_croissant(folder, "spavl", f"{number} safety preference pairs, and test questions", licences)
    return {name: len(members) for name, members in {**pairs, **test}.items()}


def benchmark_questions(questions: Collection[Question], splits: Splits) -> dict[str, Collection[Question]]:
    """Returns the test questions: harmful ones, and benign ones; of each at most as many as the splits may have."""

    def asked(one: Question, *, harmful: bool) -> bool:
        return splits[one.image_id] == "test" and one.question_type.harmful is harmful

    return {
        "harm": _first(questions, lambda one: asked(one, harmful=True), splits, "harm"),
        "help": _first(questions, lambda one: asked(one, harmful=False), splits, "help"),
    }


def _pairs_of_splits(pairs: Collection[PreferencePair], splits: Splits) -> dict[str, Collection[PreferencePair]]:
    """Returns the pairs of each split, at most as many as it may have."""
    if any(splits[pair.image_id] == "test" for pair in pairs):
        raise RunError("A preference pair uses a picture of the test split. Please report this as a bug.")
    names: tuple[PairSplit, ...] = ("train", "validation")
    by_split: dict[str, Collection[PreferencePair]] = {
        name: _first(pairs, functools.partial(_is_of, splits, name), splits, name) for name in names
    }
    if not by_split["train"]:
        raise UserError(
            "No preference pair is left for training: every pair was a tie, a flip or unlabelled. "
            "Look at the counts in preferences/manifest.json; add responders or comparisons_per_question."
        )
    return by_split


def _is_of(splits: Splits, split: Split, pair: PreferencePair) -> bool:
    return splits[pair.image_id] == split


def _first(rows: Collection[R], wanted: Callable[[R], bool], splits: Splits, name: SplitName) -> Collection[R]:
    """Returns those wanted rows that a split may have, in their own order; which those are, leaves take turns."""
    most = splits.max_rows.get(name)
    if most is None:
        return Chosen(rows, wanted)
    turns = (Turn(row.id, sys.intern(row.leaf), row.image_id) for row in rows if wanted(row))
    kept = Places((one, 0) for one in in_turn(turns, splits.seed)[:most])
    return Chosen(rows, lambda row: row.id in kept)


def _outcomes(
    pairs: Iterable[PreferencePair], by_split: Mapping[str, Collection[PreferencePair]], splits: Splits
) -> Iterator[Outcome]:
    for pair in pairs:
        split = splits[pair.image_id]
        if pair in by_split[split]:
            yield outcome(pair.id, DatasetRow(pair_id=pair.id, split=split))
        else:
            yield outcome(pair.id, _left_out(splits, split))


def _left_out(splits: Splits, split: Split) -> Failure:
    most = splits.max_rows["train" if split == "train" else "validation"]
    message = f"dataset.max_rows: {split} has its {most} rows"
    return Failure(reason="over_max_rows", message=message, dropped=True)


def _row_groups(rows: Iterable[R]) -> Iterator[list[R]]:
    each = iter(rows)
    while some := list(islice(each, ROW_GROUP)):
        yield some


def _write(folder: Path, name: str, schema: pa.Schema, row_groups: Iterator[pa.Table]) -> None:
    """Writes a Parquet file row group by row group; a file without rows is removed."""
    path = folder / "data" / f"{name}-00000-of-00001.parquet"
    first = next(row_groups, None)
    if first is None:
        path.unlink(missing_ok=True)
    else:
        write_atomically(path, parquet_bytes(schema, chain([first], row_groups)))
