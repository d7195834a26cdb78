"""The reading station: rows of a preference dataset become `PreferencePair`s, their pictures go to the store.

A row that cannot be used is counted with its reason. Rows about the same picture get the same image id, whatever
their files are called, so that training sees their questions together. A mark that stands for the picture at either
end of a question (LLaVA's `<image>`) is taken away and counted: the chat template puts the picture there itself. It
does not count tokens.
"""

import hashlib
import re
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from spavl.config_file import describe_errors
from spavl.dataset.columns import Texts, known_columns, question_type, read_texts, row_pictures, said
from spavl.dataset.files import data_licence
from spavl.dataset.licences import said_licence
from spavl.dataset.meta_files import meta_paths, read_meta
from spavl.errors import UserError
from spavl.execution import progress_bar
from spavl.models.ask import outcome
from spavl.recipe_config import DataConfig
from spavl.records import Failure, ImageRecord, PreferencePair, content_id
from spavl.store import ImageStore, Manifest, StageDirectory, UnreadableImage
from spavl.store.split_files import SplitFiles, file_inside

MARK = r"(?:<\|vision_start\|>)?(?:<image>|<\|image_pad\|>|<start_of_image>|<IMG_CONTEXT>)(?:<\|vision_end\|>)?"
"""What stands for a picture in the prompts of the families that are trained."""
_END_MARK = re.compile(rf"\A\s*{MARK}\s*|\s*{MARK}\s*\Z")
_ANY_MARK = re.compile(MARK)


def read_pairs(config: DataConfig, files: SplitFiles, store: ImageStore, stage: StageDirectory) -> Manifest:
    """Runs the station: one item per row.

    Raises:
        UserError: A column is missing or holds what it may not hold, pictures are missing altogether, or no row can
            be used.
        RunError: The disk is full.
    """
    reader = _Reader(config, files, store)
    items = [f"{config.split}/{number}" for number in range(files.rows)]
    pending = set(stage.pending(items))
    with progress_bar("read", len(items), len(items) - len(pending)) as done:
        start = 0
        for rows in files.read(reader.columns.all):
            numbered = enumerate(rows[: files.rows - start], start)
            made = [
                outcome(items[number], reader.pair(number, row)) for number, row in numbered if items[number] in pending
            ]
            stage.append(made)
            done(len(made))
            start += len(rows)
            if start >= len(items):
                break
    return _finish(stage, items, reader)


def sample_pairs(
    config: DataConfig, files: SplitFiles, store: ImageStore, rows: int
) -> tuple[list[PreferencePair], int]:
    """Returns the pairs of some rows from all over the split, and how many rows were read for them.

    Args:
        config: The data's configuration.
        files: The split.
        store: Where the pictures of these rows go.
        rows: Most rows that are read.

    Raises:
        UserError: A column is missing or holds what it may not hold, or pictures are missing altogether.
    """
    reader = _Reader(config, files, store)
    made = [
        reader.pair(start + place, row)
        for start, stretch in files.sample(reader.columns.all, rows)
        for place, row in enumerate(stretch)
    ]
    return [one for one in made if isinstance(one, PreferencePair)], len(made)


def stored_pictures(store: ImageStore) -> dict[str, Path]:
    """Returns image id -> file of every picture in the store."""
    return {_image_id(path.stem): path for path in store.root.glob("*/*.png")}


def _image_id(sha256: str) -> str:
    return content_id(ImageRecord.prefix, sha256)


class _Album:
    """Pictures of rows: each is opened once, however many rows are about it."""

    def __init__(self, store: ImageStore, images: Path) -> None:
        self._store, self._images = store, images
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
        path = file_inside(self._images, name)
        if path is None:
            return Failure(reason="missing_picture", message=f"{name!r} is no file in the folder of pictures")
        if path.stat().st_size > self._store.limits.max_bytes:
            return Failure(reason="too_large", message=f"{name}: too many bytes", dropped=True)
        return self._stored(path.read_bytes())

    def _stored(self, content: bytes) -> str | Failure:
        digest = hashlib.sha256(content).hexdigest()
        if digest not in self._known:
            try:
                self._known[digest] = _image_id(self._store.add(content).sha256)
            except UnreadableImage as error:
                dropped = error.reason != "unreadable"
                self._known[digest] = Failure(reason=error.reason, message=str(error), dropped=dropped)
        return self._known[digest]


class _Reader:
    """Makes pairs of a split's rows."""

    def __init__(self, config: DataConfig, files: SplitFiles, store: ImageStore) -> None:
        self.files = files
        self.columns = known_columns(files.schema)
        self.meta = read_meta(meta_paths(config.meta_files, files.folder))
        self._split, self._licence = config.split, data_licence(config, files)
        images = config.images or files.folder / "images"
        if self.columns.pictures == ("image_name",) and not images.is_dir():
            raise UserError(
                f"data.images: the dataset names its pictures (`image_name`), and {images} is not a folder. "
                "Give the folder that holds the pictures."
            )
        self._album = _Album(store, images.resolve())

    def pair(self, number: int, row: Mapping[str, Any]) -> PreferencePair | Failure:
        """Returns a row's pair, or why there is none."""
        texts = read_texts(row, self.columns)
        if isinstance(texts, Failure):
            return texts
        texts = texts._replace(question=_without_mark(texts.question))
        if _ANY_MARK.search(texts.question):
            return Failure(reason="picture_mark", message="a mark of a picture stands within the text", dropped=True)
        if not texts.question.strip():
            return Failure(reason="empty_question", message="there is no question beside the picture", dropped=True)
        image_id = self._album.image_id(row)
        if isinstance(image_id, Failure):
            return image_id
        described = self.meta.of_row(row, texts.question)
        described |= {name: row[name] for name in self.columns.optional if row[name] is not None}
        licence = said_licence(described.get("licence") or described.get("license"), self._licence)
        place = f"{self._split} row {number} (in {self.files.file_of(number).name})"
        try:
            return PreferencePair(
                **_ids(image_id, texts), **texts._asdict(), **_described(described), licence=licence, read_from=place
            )
        except ValidationError as error:
            raise UserError(
                f"data.path: row {self._split}/{number}: {describe_errors(error)}. Correct the column, or remove it."
            ) from error

    def count_marks(self, numbers: set[int]) -> int:
        """Counts the rows among these from whose question a picture's mark was taken away."""
        column = self.columns.prompt
        questions = (said(row[column], "user") or "" for rows in self.files.read([column]) for row in rows)
        return sum(_END_MARK.search(one) is not None for number, one in enumerate(questions) if number in numbers)


def _without_mark(question: str) -> str:
    """Returns a question without a picture's mark at its beginning or else at its end."""
    return _END_MARK.sub("", question, count=1)


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
        "strength": said.get("strength"),
    }


def _say_left_out(failures: Mapping[str, Failure], rows: int) -> None:
    """Names the first row of each reason for which rows cannot be trained on."""
    firsts: dict[str, str] = {}
    for row, failure in failures.items():
        firsts.setdefault(failure.reason, f"{failure.reason}, first {row}: {failure.message}")
    if firsts:
        listed = "; ".join(said for _, said in sorted(firsts.items()))
        print(f"pairs: {len(failures)} of {rows} rows are left out ({listed})", file=sys.stderr)


def _finish(stage: StageDirectory, items: list[str], reader: _Reader) -> Manifest:
    pairs, failures = stage.records(PreferencePair), stage.failures()
    if not pairs:
        reasons = Counter(failure.reason for failure in failures.values())
        counted = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items())) or "there are none"
        raise UserError(
            f"data.path: none of {len(items)} rows can be trained on ({counted}). A row needs one picture, a question, "
            f"and two answers that differ; correct the data, and add `--restart-from {stage.name}`."
        )
    _say_left_out(failures, len(items))
    facts = {
        "pairs": len(pairs),
        "pictures": len({pair.image_id for pair in pairs}),
        "files": [path.name for path in reader.files.files],
        "columns_read": reader.columns.all,
        "picture_marks_taken_away": reader.count_marks({n for n, item in enumerate(items) if item not in failures}),
        "licences": dict(sorted(Counter(pair.licence or "unknown" for pair in pairs).items())),
        "pairs_with_classes": sum(bool(pair.leaf) for pair in pairs),
        "pairs_with_question_type": sum(pair.question_type is not None for pair in pairs),
        "meta_files": [path.name for path in reader.meta.files],
        "columns_ignored": [name for name in reader.files.schema.names if name not in reader.columns.all],
    }
    return stage.finish(items, facts)
