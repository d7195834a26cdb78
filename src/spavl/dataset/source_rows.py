"""A finished dataset's rows, whatever its columns are called: what exports are made of.

It reads Parquet in TRL's columns or SPA-VL's, pairs and test questions alike, one row at a time.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from spavl.dataset.columns import (
    ANSWER_COLUMNS,
    PICTURE_COLUMNS,
    PROMPT_COLUMNS,
    Texts,
    known_columns,
    question_type,
    read_texts,
    row_pictures,
)
from spavl.dataset.licences import said_licence
from spavl.dataset.meta_files import NO_META, MetaFiles
from spavl.dataset.rows import QUESTION_COLUMNS, TEXT_COLUMNS
from spavl.errors import UserError
from spavl.records import Failure
from spavl.store import DecodeLimits, UnreadableImage
from spavl.store.images import decode
from spavl.store.split_files import UNREADABLE, check_parts, file_inside, split_of

ROWS_AT_ONCE = 100
LIMITS = DecodeLimits(min_side=1, stored_side=64)
"""Of the check that a picture is one: what is decoded is thrown away, so a JPEG is decoded at an eighth."""
LABELS = tuple(dict.fromkeys((*TEXT_COLUMNS, *QUESTION_COLUMNS[1:], "rationales", "strength")))
"""What a row may say beside its texts and its picture."""
SUFFIXES = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpg", b"RIFF": "webp", b"GIF8": "gif", b"BM": "bmp"}


class SourceRow(NamedTuple):
    """One row."""

    split: str
    """`train`, `validation`, `harm`, `help`, or as the file is called."""
    question: str
    answers: tuple[str, str] | None
    """Chosen and rejected; None for a test question."""
    picture: bytes
    labels: Mapping[str, Any]
    """Those of `LABELS` that are filled; `question_type` in our words."""
    own_name: str
    """What the dataset calls the picture; empty where it does not."""

    @property
    def image_name(self) -> str:
        """What rows of an export call the picture: as the dataset does, or by its bytes."""
        return self.own_name or self.picture_name

    @property
    def picture_name(self) -> str:
        """A name that is the same for the same bytes, and good for a file."""
        suffix = next((one for start, one in SUFFIXES.items() if self.picture.startswith(start)), "bin")
        return stored_name(hashlib.sha256(self.picture).hexdigest(), suffix)


def stored_name(sha256: str, suffix: str) -> str:
    """Returns the first 16 hex digits of the SHA-256 of a picture's bytes, with a suffix that says its kind."""
    return f"{sha256[:16]}.{suffix}"


class _Beside(NamedTuple):
    """What lies beside the rows."""

    folder: Path
    meta: MetaFiles
    licence: str | None


def read_source(folder: Path, meta: MetaFiles = NO_META, licence: str | None = None) -> Iterator[SourceRow | Failure]:
    """Yields every row, or why it is none.

    Args:
        folder: The dataset.
        meta: What files beside it say of rows that do not say it themselves.
        licence: Licence of rows that name none; None for unknown.

    Raises:
        UserError: There is no such folder or no Parquet in it, a file is damaged or missing, or a column is missing.
    """
    beside = _Beside(folder, meta, licence)
    paths = sorted(folder.rglob("*.parquet")) if folder.is_dir() else []
    if not paths:
        raise UserError(f"{folder} holds no *.parquet. Give the folder of a dataset, for example runs/NAME/dataset.")
    check_parts(paths)
    for path in paths:
        try:
            with pq.ParquetFile(path) as file:
                names = file.schema_arrow.names
                pairs = set(ANSWER_COLUMNS) <= set(names)
                columns = known_columns(file.schema_arrow) if pairs else None
                if not pairs and not (set(PICTURE_COLUMNS) & set(names) and set(PROMPT_COLUMNS) & set(names)):
                    raise UserError(
                        f"{path} has neither pairs (images, prompt, chosen, rejected) nor questions (image, question); "
                        f"its columns are {', '.join(names)}. Rename them, or move the file away."
                    )
                for batch in file.iter_batches(ROWS_AT_ONCE):
                    for row in batch.to_pylist():
                        texts = read_texts(row, columns) if columns else _question(row)
                        yield texts if isinstance(texts, Failure) else _row(split_of(path), row, texts, beside)
        except UNREADABLE as error:
            raise UserError(
                f"{path} cannot be read ({' '.join(str(error).split())[:200]}). Get the file again."
            ) from error


def readable(rows: Iterable[SourceRow | Failure]) -> Iterator[SourceRow | Failure]:
    """Yields rows as they come, but for one whose picture cannot be decoded, why; each picture is decoded once."""
    known: dict[str, Failure | None] = {}
    for row in rows:
        if isinstance(row, Failure):
            yield row
            continue
        if (name := row.picture_name) not in known:
            known[name] = _unreadable(row.picture)
        yield known[name] or row


def _unreadable(picture: bytes) -> Failure | None:
    try:
        decode(picture, LIMITS)
    except UnreadableImage as error:
        return Failure(reason=error.reason, message=str(error), dropped=True)
    return None


def _question(row: Mapping[str, Any]) -> tuple[str, None, None] | Failure:
    text = row.get("question")
    if not isinstance(text, str) or not text.strip():
        return Failure(reason="empty_question", message="there is no question", dropped=True)
    return text.strip(), None, None


def _row(
    split: str, row: Mapping[str, Any], texts: Texts | tuple[str, None, None], beside: _Beside
) -> SourceRow | Failure:
    question, chosen, rejected = texts
    pictures = row_pictures(row)
    if len(pictures) != 1:
        return Failure(reason="no_single_picture", message=f"{len(pictures)} pictures", dropped=True)
    content = pictures[0].content or _file_beside(beside.folder, pictures[0].name or "")
    if not content:
        return Failure(reason="missing_picture", message=f"{pictures[0].name} is no file of the dataset")
    labels = beside.meta.of_row(row, question) | {
        name: row[name] for name in LABELS if row.get(name) not in (None, "", [])
    }
    if licence := said_licence(labels.get("licence") or row.get("license"), beside.licence):
        labels["licence"] = licence
    if kind := question_type(labels.get("question_type")):
        labels["question_type"] = str(kind)
    answers = (chosen, rejected) if chosen is not None and rejected is not None else None
    name = str(row.get("image_name") or pictures[0].name or "")
    return SourceRow(split, question, answers, content, labels, name)


def _file_beside(folder: Path, name: str) -> bytes | None:
    path = file_inside(folder / "images", name)
    return path.read_bytes() if path is not None else None
