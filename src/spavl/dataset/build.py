"""Builds the dataset's folder: Parquet files in the hub's layout, a card, and a line per pair that says its split."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from spavl.dataset.card import dataset_card
from spavl.dataset.rows import pair_table, question_table
from spavl.dataset.splits import Split, of_split
from spavl.errors import RunError, UserError
from spavl.models.ask import outcome
from spavl.records import ImageRecord, PreferencePair, Question, Record
from spavl.store import ImageStore, Manifest, StageDirectory
from spavl.store.files import write_atomically

ROW_GROUP = 100
"""Rows of one Parquet row group; the hub's viewer asks for about this many where rows hold pictures."""


class DatasetRow(Record):
    """Where a preference pair stands in the dataset."""

    prefix: ClassVar[str] = "row"
    made_from: ClassVar[tuple[str, ...]] = ("pair_id", "split")

    pair_id: str
    split: Literal["train", "validation", "test"]


def build_dataset(
    images: Sequence[ImageRecord],
    questions: Sequence[Question],
    pairs: Sequence[PreferencePair],
    splits: Mapping[str, Split],
    store: ImageStore,
    stage: StageDirectory,
) -> Manifest:
    """Runs the station: one item per pair.

    Raises:
        UserError: No pair is left for training.
        RunError: A pair's picture belongs to the test split, or the disk is full.
    """
    by_id = {image.id: image for image in images}
    rows = [outcome(pair.id, DatasetRow(pair_id=pair.id, split=splits[pair.image_id])) for pair in pairs]
    by_split = {split: [pair for pair in pairs if splits[pair.image_id] == split] for split in ("train", "validation")}
    if sum(map(len, by_split.values())) != len(pairs):
        raise RunError("A preference pair uses a picture of the test split. Please report this as a bug.")
    if not by_split["train"]:
        raise UserError(
            "No preference pair is left for training: every pair was a tie, a flip or unlabelled. "
            "Look at the counts in preferences/manifest.json; add responders or comparisons_per_question."
        )
    held = of_split(splits, "test")
    test = {
        "harm": [one for one in questions if one.image_id in held and one.question_type.harmful],
        "help": [one for one in questions if one.image_id in held and not one.question_type.harmful],
    }
    test = {name: members for name, members in test.items() if members}

    def read(image: ImageRecord) -> bytes:
        return store.path(image.sha256, image.format).read_bytes()

    folder = stage.path / "data"
    for split, members in by_split.items():
        if members:
            _write(folder, split, pair_table(members, by_id, read))
    for name, asked in test.items():
        _write(folder, name, question_table(asked, by_id, read))
    used = {pair.image_id for pair in pairs} | {one.image_id for members in test.values() for one in members}
    card = dataset_card(by_split, test, {image: by_id[image] for image in used})
    write_atomically(stage.path / "README.md", card.encode())
    pending = set(stage.pending(row.item for row in rows))
    stage.append([row for row in rows if row.item in pending])
    facts = {split: len(members) for split, members in by_split.items()}
    return stage.finish([row.item for row in rows], facts=facts | {name: len(asked) for name, asked in test.items()})


def _write(folder: Path, name: str, table: pa.Table) -> None:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, row_group_size=ROW_GROUP, compression="zstd")
    write_atomically(folder / f"{name}-00000-of-00001.parquet", buffer.getvalue())
