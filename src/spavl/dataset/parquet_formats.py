"""The formats that are Parquet: TRL's preference columns, and the columns and folders of SPA-VL's release.

TRL: huggingface.co/docs/trl/dataset_formats (vision: `images`, chat turns in `prompt`, `chosen`, `rejected`). SPA-VL:
the card of `sqrti/SPA-VL` (`image, question, chosen, rejected, image_name`, classes; tags easy, hardq, hards).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from spavl.dataset.columns import SPA_VL_TYPES
from spavl.dataset.rows import (
    QUESTION_COLUMNS,
    TEXT_COLUMNS,
    assistant_turn,
    pair_schema,
    picture_schema,
    question_schema,
    user_turn,
)
from spavl.dataset.source_rows import ROWS_AT_ONCE, SourceRow
from spavl.store.files import disk_errors_named, make_folder

TAGS = {kind: tag for tag, kind in reversed(SPA_VL_TYPES.items())}
"""Question type -> the release's tag, `hards` and not `hardd`; a benign question keeps our word."""
SPA_VL_TEXTS = ("question", "chosen", "rejected", "image_name", *TEXT_COLUMNS)


class ParquetExport:
    """Writes each split's rows to one Parquet file, a row group at a time.

    Args:
        folder: Where the files go.
        release: Whether the columns and folders are those of SPA-VL's release, and not TRL's.
    """

    def __init__(self, folder: Path, release: bool) -> None:
        self._folder, self._release = folder, release
        self._writers: dict[str, pq.ParquetWriter] = {}
        self._waiting: dict[str, list[dict[str, Any]]] = {}

    def add(self, row: SourceRow) -> bool:
        """Takes a row, and says that it has a place in this format."""
        waiting = self._waiting.setdefault(row.split, [])
        waiting.append(self._columns(row))
        if len(waiting) == ROWS_AT_ONCE:
            self._write(row.split)
        return True

    def close(self) -> None:
        """Writes what waits.

        Raises:
            RunError: The disk is full.
        """
        for split in self._waiting:
            self._write(split)
        with disk_errors_named(self._folder):
            for writer in self._writers.values():
                writer.close()

    def _columns(self, row: SourceRow) -> dict[str, Any]:
        labels = dict(row.labels)
        picture = {"bytes": row.picture, "path": row.image_name}
        if row.answers is None:
            return labels | {"image": picture, "question": row.question}
        chosen, rejected = row.answers
        if not self._release:
            turns = {"chosen": assistant_turn(chosen), "rejected": assistant_turn(rejected)}
            return labels | {"images": [picture], "prompt": user_turn(row.question)} | turns
        texts = {"question": row.question, "chosen": chosen, "rejected": rejected, "image_name": row.image_name}
        return _tagged(labels) | {"image": picture} | texts

    def _write(self, split: str) -> None:
        rows = self._waiting[split]
        with disk_errors_named(self._folder):
            if split not in self._writers:
                self._writers[split] = self._open(split, pairs="rejected" in rows[0])
            writer = self._writers[split]
            if rows:
                writer.write_table(pa.Table.from_pylist(rows, schema=writer.schema))
        self._waiting[split] = []

    def _open(self, split: str, pairs: bool) -> pq.ParquetWriter:
        part = {"validation": "validation", "harm": "test", "help": "test"}.get(split, "data")
        path = self._folder / (part if self._release else "data") / f"{split}-00000-of-00001.parquet"
        make_folder(path.parent)
        if not pairs:
            schema = picture_schema(QUESTION_COLUMNS) if self._release else question_schema()
        else:
            schema = picture_schema(SPA_VL_TEXTS, ["rationales"]) if self._release else pair_schema()
        return pq.ParquetWriter(path, schema, compression="zstd")


def _tagged(labels: Mapping[str, Any]) -> dict[str, Any]:
    tags = {str(kind): tag for kind, tag in TAGS.items()}
    kind = labels.get("question_type")
    return {**labels, "question_type": tags.get(str(kind), kind)} if kind else dict(labels)
