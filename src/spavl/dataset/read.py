"""The reading station: rows of a preference dataset become `PreferencePair`s, their pictures go to the store.

A row that cannot be used is counted with its reason. Rows about the same picture get the same image id, whatever
their files are called, so that training sees their questions together. It does not count tokens.
"""

import hashlib
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from spavl.config_file import describe_errors
from spavl.dataset.columns import Columns, Texts, known_columns, question_type, read_texts, row_pictures
from spavl.dataset.meta_files import MetaFiles, meta_paths, read_meta
from spavl.errors import UserError
from spavl.execution import progress_bar
from spavl.models.ask import outcome
from spavl.recipe_config import DataConfig
from spavl.records import Failure, ImageRecord, PreferencePair, content_id
from spavl.store import ImageStore, Manifest, StageDirectory, UnreadableImage
from spavl.store.split_files import SplitFiles


def read_pairs(config: DataConfig, files: SplitFiles, store: ImageStore, stage: StageDirectory) -> Manifest:
    """Runs the station: one item per row.

    Raises:
        UserError: A column is missing or holds what it may not hold, pictures are missing altogether, or no row can
            be used.
        RunError: The disk is full.
    """
    columns = known_columns(files.schema)
    meta = read_meta(meta_paths(config, files.folder))
    images = config.images or files.folder / "images"
    if columns.pictures == ("image_name",) and not images.is_dir():
        raise UserError(
            f"data.images: the dataset names its pictures (`image_name`), and {images} is not a folder. "
            "Give the folder that holds the pictures."
        )
    items = [f"{config.split}/{number}" for number in range(files.rows)]
    pending = set(stage.pending(items))
    with tempfile.TemporaryDirectory() as scratch, progress_bar("read", len(items), len(items) - len(pending)) as done:
        album = _Album(store, images.resolve(), Path(scratch) / "picture")
        start = 0
        for rows in files.read(columns.all):
            numbered = dict(zip(items[start:], rows, strict=False))
            made = [
                outcome(item, _pair(item, row, columns, album, meta))
                for item, row in numbered.items()
                if item in pending
            ]
            stage.append(made)
            done(len(made))
            start += len(rows)
            if start >= len(items):
                break
    return _finish(stage, items, columns, files, meta)


def stored_pictures(store: ImageStore) -> dict[str, Path]:
    """Returns image id -> file of every picture in the store."""
    return {_image_id(path.stem): path for path in store.root.glob("*/*.png")}


def _image_id(sha256: str) -> str:
    return content_id(ImageRecord.prefix, sha256)


class _Album:
    """Pictures of rows: each is opened once, however many rows are about it."""

    def __init__(self, store: ImageStore, images: Path, scratch: Path) -> None:
        self._store, self._images, self._scratch = store, images, scratch
        self._known: dict[str, str | Failure] = {}

    def image_id(self, row: Mapping[str, Any]) -> str | Failure:
        """Returns the image id of a row's picture, or why there is none."""
        found = row_pictures(row)
        if len(found) > 1:
            return Failure(reason="several_pictures", message=f"{len(found)} pictures", dropped=True)
        if not found or not (found[0].content or found[0].name):
            return Failure(reason="no_picture", message="there is no picture", dropped=True)
        return self._stored(found[0].content) if found[0].content else self._from_file(str(found[0].name))

    def _from_file(self, name: str) -> str | Failure:
        path = (self._images / name).resolve()
        if not path.is_relative_to(self._images) or not path.is_file():
            return Failure(reason="missing_picture", message=f"{name} is no file in the folder of pictures")
        if path.stat().st_size > self._store.limits.max_bytes:
            return Failure(reason="too_large", message=f"{name}: too many bytes", dropped=True)
        return self._stored(path.read_bytes())

    def _stored(self, content: bytes) -> str | Failure:
        digest = hashlib.sha256(content).hexdigest()
        if digest not in self._known:
            self._scratch.write_bytes(content)
            try:
                self._known[digest] = _image_id(self._store.add(self._scratch).sha256)
            except UnreadableImage as error:
                dropped = error.reason != "unreadable"
                self._known[digest] = Failure(reason=error.reason, message=str(error), dropped=dropped)
        return self._known[digest]


def _pair(
    item: str, row: Mapping[str, Any], columns: Columns, album: _Album, meta: MetaFiles
) -> PreferencePair | Failure:
    texts = read_texts(row, columns)
    if isinstance(texts, Failure):
        return texts
    image_id = album.image_id(row)
    if isinstance(image_id, Failure):
        return image_id
    said = _joined(row, texts.question, meta) if meta.files else {}
    said |= {name: row[name] for name in columns.optional if row[name] is not None}
    try:
        return PreferencePair(**_ids(image_id, texts), **texts._asdict(), **_described(said))
    except ValidationError as error:
        raise UserError(
            f"data.path: row {item}: {describe_errors(error)}. Correct the column, or remove it."
        ) from error


def _joined(row: Mapping[str, Any], question: str, meta: MetaFiles) -> dict[str, Any]:
    """Returns what the meta files say of a row: by its picture's name, or its picture's bytes."""
    picture = row_pictures(row)[0]
    md5 = hashlib.md5(picture.content, usedforsecurity=False).hexdigest() if picture.content else ""
    return meta.of(str(row.get("image_name") or picture.name or ""), md5, question)


def _ids(image_id: str, texts: Texts) -> dict[str, Any]:
    question = content_id("que", image_id, texts.question)
    answers = {f"{side}_id": content_id("res", question, getattr(texts, side)) for side in ("chosen", "rejected")}
    return {"image_id": image_id, "question_id": question, "judgment_ids": (), **answers}


def _described(said: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields that a dataset may have, from the columns of a row that are filled."""
    fields = {name: said.get(name, "") for name in ("chosen_responder", "rejected_responder", "judge")}
    for name in ("chosen_verdict", "rejected_verdict"):
        verdict = said.get(name)
        fields[name] = ("safe" if verdict else "unsafe") if isinstance(verdict, bool) else verdict
    fields |= {name: said[name] for name in ("chosen_finish", "rejected_finish") if name in said}
    classes = [str(said[name]) for name in ("class1", "class2", "class3") if name in said]
    return fields | {
        "question_type": question_type(said.get("question_type")),
        "leaf": "/".join(classes),
        "rationales": said.get("rationales", ()),
    }


def _finish(stage: StageDirectory, items: list[str], columns: Columns, files: SplitFiles, meta: MetaFiles) -> Manifest:
    pairs = stage.records(PreferencePair)
    if not pairs:
        reasons = Counter(failure.reason for failure in stage.failures().values())
        counted = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items())) or "there are none"
        raise UserError(
            f"data.path: none of {len(items)} rows can be trained on ({counted}). A row needs one picture, a question, "
            f"and two answers that differ; correct the data, and add `--restart-from {stage.name}`."
        )
    facts = {
        "pairs": len(pairs),
        "pictures": len({pair.image_id for pair in pairs}),
        "files": [path.name for path in files.files],
        "columns_read": columns.all,
        "pairs_with_classes": sum(bool(pair.leaf) for pair in pairs),
        "pairs_with_question_type": sum(pair.question_type is not None for pair in pairs),
        "meta_files": [path.name for path in meta.files],
        "columns_ignored": [name for name in files.schema.names if name not in columns.all],
    }
    return stage.finish(items, facts)
