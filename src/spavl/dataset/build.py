"""Builds the dataset's folder: Parquet files in the hub's layout, a card, and a line per pair that says its split."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from spavl.config import SplitName
from spavl.dataset.card import dataset_card
from spavl.dataset.croissant import write_croissant
from spavl.dataset.image_info import write_image_info
from spavl.dataset.rows import Picture, pair_table, question_table
from spavl.dataset.splits import Split, Splits
from spavl.dataset.turns import Turn, in_turn
from spavl.errors import RunError, UserError
from spavl.models.ask import outcome
from spavl.records import Caption, Failure, ImageRecord, PreferencePair, Question, QuestionCheck, Record
from spavl.store import ImageStore, Manifest, Outcome, StageDirectory
from spavl.store.files import write_atomically

ROW_GROUP = 100
"""Rows of one Parquet row group; the hub's viewer asks for about this many where rows hold pictures."""


R = TypeVar("R", PreferencePair, Question)
PairSplit = Literal["train", "validation"]


class Material(NamedTuple):
    """What a dataset is made of."""

    images: Sequence[ImageRecord]
    questions: Sequence[Question]
    pairs: Sequence[PreferencePair]
    captions: Mapping[str, Caption | Failure] = {}
    """Image id -> its written caption, or why there is none; empty where no model was asked."""
    checks: Sequence[QuestionCheck] = ()
    """What was found about the questions."""


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
    asked = [one for one in material.questions if splits[one.image_id] == "test"]
    test = benchmark_questions(material.questions, splits)
    rows_of_splits = write_files(stage.path, by_split, test, material, store)
    rows = _outcomes(material.pairs, by_split, splits)
    pending = set(stage.pending(row.item for row in rows))
    stage.append([row for row in rows if row.item in pending])
    facts: dict[str, Any] = dict(rows_of_splits)
    facts["test_questions_left_out"] = len(asked) - sum(map(len, test.values()))
    pictures = {split: len(splits.of(split)) for split in ("train", "validation", "test")}
    alike = {
        "clusters": len(splits.clusters),
        "pictures": sum(splits.clusters),
        "largest": max(splits.clusters, default=0),
    }
    return stage.finish([row.item for row in rows], facts=facts | {"pictures": pictures, "look_alikes": alike})


def write_files(
    folder: Path,
    pairs: Mapping[str, Sequence[PreferencePair]],
    questions: Mapping[str, Sequence[Question]],
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

    by_id = {image.id: Picture(image, material.captions.get(image.id)) for image in material.images}
    for split, members in pairs.items():
        _write(folder, split, pair_table(members, by_id, read))
    for name, asked in questions.items():
        _write(folder, name, question_table(asked, by_id, read))
    test = {name: asked for name, asked in questions.items() if asked}
    everything = [pair for members in pairs.values() for pair in members]
    used = {one.image_id for one in everything} | {one.image_id for asked in test.values() for one in asked}
    card = dataset_card(pairs, test, {one: by_id[one] for one in used}, material.checks)
    write_atomically(folder / "README.md", card.encode())
    write_image_info(folder, [picture for image, picture in by_id.items() if image in used])
    licences = sorted({by_id[one].record.licence or "unknown" for one in used})
    write_croissant(folder, "spavl", f"{len(everything)} safety preference pairs, and test questions", licences)
    return {name: len(members) for name, members in {**pairs, **test}.items()}


def benchmark_questions(questions: Sequence[Question], splits: Splits) -> dict[str, list[Question]]:
    """Returns the test questions: harmful ones, and benign ones; of each at most as many as the splits may have."""
    asked = [one for one in questions if splits[one.image_id] == "test"]
    return {
        "harm": _first([one for one in asked if one.question_type.harmful], splits, "harm"),
        "help": _first([one for one in asked if not one.question_type.harmful], splits, "help"),
    }


def _pairs_of_splits(pairs: Sequence[PreferencePair], splits: Splits) -> dict[str, list[PreferencePair]]:
    """Returns the pairs of each split, at most as many as it may have."""
    if any(splits[pair.image_id] == "test" for pair in pairs):
        raise RunError("A preference pair uses a picture of the test split. Please report this as a bug.")
    names: tuple[PairSplit, ...] = ("train", "validation")
    by_split: dict[str, list[PreferencePair]] = {
        split: _first([pair for pair in pairs if splits[pair.image_id] == split], splits, split) for split in names
    }
    if not by_split["train"]:
        raise UserError(
            "No preference pair is left for training: every pair was a tie, a flip or unlabelled. "
            "Look at the counts in preferences/manifest.json; add responders or comparisons_per_question."
        )
    return by_split


def _first(rows: Sequence[R], splits: Splits, name: SplitName) -> list[R]:
    """Returns the rows that a split may have, in their own order; which those are, leaves take turns."""
    kept = in_turn([Turn(row.id, row.leaf, row.image_id) for row in rows], splits.seed)[: splits.max_rows.get(name)]
    known = set(kept)
    return [row for row in rows if row.id in known]


def _outcomes(
    pairs: Sequence[PreferencePair], by_split: Mapping[str, Sequence[PreferencePair]], splits: Splits
) -> list[Outcome]:
    placed = {pair.id: split for split, members in by_split.items() for pair in members}
    return [
        outcome(pair.id, DatasetRow(pair_id=pair.id, split=placed[pair.id]))
        if pair.id in placed
        else outcome(pair.id, _left_out(splits, splits[pair.image_id]))
        for pair in pairs
    ]


def _left_out(splits: Splits, split: Split) -> Failure:
    most = splits.max_rows["train" if split == "train" else "validation"]
    message = f"dataset.max_rows: {split} has its {most} rows"
    return Failure(reason="over_max_rows", message=message, dropped=True)


def _write(folder: Path, name: str, table: pa.Table) -> None:
    path = folder / "data" / f"{name}-00000-of-00001.parquet"
    if not len(table):
        path.unlink(missing_ok=True)
        return
    buffer = io.BytesIO()
    pq.write_table(table, buffer, row_group_size=ROW_GROUP, compression="zstd")
    write_atomically(path, buffer.getvalue())
