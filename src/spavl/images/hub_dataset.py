"""Lists the pictures of a Hugging Face dataset: Parquet files with an Image column, or an imagefolder.

Captions are read first, without the pictures; a picture is read from its row when it is asked for, with a few rows of
its row group in memory at a time. Rows that name a file instead of holding one are looked for inside the folder only.
"""

import asyncio
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from spavl.errors import UserError
from spavl.image_config import DatasetSource, FolderSource
from spavl.images.candidates import Candidate, clean
from spavl.images.columns import (
    Columns,
    check_captions,
    damage_named,
    describe,
    find_column,
    find_columns,
    needed,
    without_captions,
)
from spavl.images.folder import OpenFiles, folder_candidates
from spavl.records import Failure
from spavl.store.split_files import SplitFiles, file_inside, find_split

KEY = "images.source"
_HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
ROWS_AT_ONCE = 1_000
PICTURES_AT_ONCE = 16
USUAL_IMAGE_COLUMNS = ("image", "img", "picture", "png", "jpg")


class _Place(NamedTuple):
    """Where a row lies."""

    path: Path
    row_group: int
    row: int
    """Number inside the row group."""


class OpenDataset:
    """A dataset in Parquet, opened.

    Args:
        config: Which dataset, split and columns.

    Raises:
        UserError: There is no such dataset, split or column, it has no rows, or a file is damaged.
    """

    def __init__(self, config: DatasetSource) -> None:
        self._config = config
        self._files = find_split(KEY, config.path, config.revision, config.split)
        self._image, self._columns = dataset_columns(config, self._files)
        if not self._files.rows:
            raise _empty(config)

    def listed(self) -> Iterator[Candidate]:
        """Yields the rows.

        Raises:
            UserError: None has a caption.
        """
        config = self._config
        collection = clean(config.path if not Path(config.path).is_dir() else Path(config.path).resolve().name)
        captions = 0
        for number, (place, row) in enumerate(_rows(self._files, self._columns)):
            described = describe(row, self._columns, config)
            captions += bool(described.caption)
            yield Candidate(
                path=place.path,
                caption=described.caption or "picture",
                licence=described.licence,
                source=collection or "dataset",
                name=f"{config.split}/{number}",
                similarity=described.similarity,
                columns=described.columns,
                at=(place.row_group, place.row),
            )
        if not captions:
            raise without_captions(config.path, self._columns.caption or "", self._files.rows)

    def expect(self, candidates: Iterable[Candidate]) -> None:
        """Needs no warning."""

    async def content(self, candidate: Candidate) -> Path | bytes | Failure:
        """Returns a row's picture, or why there is none.

        Raises:
            UserError: The file is damaged.
        """
        value = await asyncio.to_thread(_cell, _Place(candidate.path, *candidate.at), self._image)
        content, name = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
        if isinstance(content, str):
            content, name = None, content
        if content:
            return bytes(content)
        if not name:
            return Failure(reason="no_picture", message="the row has no picture", dropped=True)
        message = f"{clean(name)!r} is no file of the dataset's folder"
        return file_inside(self._files.folder, name) or Failure(reason="missing_picture", message=message)

    async def close(self) -> None:
        """Holds nothing open."""


def open_dataset(config: DatasetSource) -> OpenDataset | OpenFiles:
    """Opens a dataset: an imagefolder where a local folder has no Parquet files, Parquet otherwise.

    Raises:
        UserError: There is no such dataset, split or column, it is empty, or a file is damaged.
    """
    folder = Path(config.path).expanduser()
    if not is_imagefolder(folder):
        return OpenDataset(config)
    named = [name for name in ("image_column", "caption_column", "licence_column", "similarity_column", "keep")
             if getattr(config, name)]  # fmt: skip
    if named:
        raise UserError(
            f"{KEY}.{named[0]}: {folder} holds no Parquet, and an imagefolder has no columns to choose. Leave it out; "
            "captions stand in `caption` or `text` of metadata.csv or metadata.jsonl."
        )
    split = folder / config.split if (folder / config.split).is_dir() else folder
    source = FolderSource(kind="folder", path=split, licence=config.licence or "unknown")
    if next(folder_candidates(source), None) is None:
        raise UserError(f"{KEY}.path: {split} holds neither Parquet files nor pictures. Give a dataset's folder.")
    return OpenFiles(lambda: folder_candidates(source))


def check_dataset(config: DatasetSource) -> None:
    """Checks a local dataset's split, columns and first rows; of a hub id nothing, for that needs the network.

    Raises:
        UserError: There is no such split or column, a file is damaged, or there are no rows or no captions in them.
    """
    folder = Path(config.path).expanduser()
    if is_imagefolder(folder):
        open_dataset(config)
    elif folder.is_dir():
        _check_rows(config, find_split(KEY, config.path, config.revision, config.split))
    elif not _HUB_ID.fullmatch(config.path):
        raise UserError(
            f"{KEY}.path: {config.path} is neither a folder nor like a hub id. Give a folder, or OWNER/NAME."
        )


def _check_rows(config: DatasetSource, files: SplitFiles) -> None:
    """Looks for the first caption, and at the place of the first picture."""
    image, columns = dataset_columns(config, files)
    first = next(_rows(files, columns), None)
    if first is None:
        raise _empty(config)
    place, _ = first
    described = (describe(row, columns, config) for _, row in _rows(files, columns))
    check_captions(config.path, columns.caption or "", described)
    _cell(place, image)


def _empty(config: DatasetSource) -> UserError:
    return UserError(f"{KEY}.split: split '{config.split}' of {config.path} has no rows. Choose another split.")


def is_imagefolder(folder: Path) -> bool:
    """Says whether a local folder is a dataset without Parquet files."""
    return folder.is_dir() and next(folder.rglob("*.parquet"), None) is None


def dataset_columns(config: DatasetSource, files: SplitFiles) -> tuple[str, Columns]:
    """Returns the column of the pictures, and those that describe them.

    Raises:
        UserError: A column is missing, or is not of pictures.
    """
    names = files.schema.names
    image = find_column(
        names, "image_column", config.image_column, (*_image_features(files.schema), *USUAL_IMAGE_COLUMNS)
    )
    image = needed(image, names, "image_column", "pictures")
    kind = files.schema.field(image).type
    holds_bytes = pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
    if not holds_bytes and not any(
        test(kind)
        for test in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_string, pa.types.is_large_string)
    ):
        raise UserError(
            f"{KEY}.image_column: column '{image}' holds {kind}, not one picture a row. "
            "Name a column of the type Image, of bytes, or of file names."
        )
    columns = find_columns(names, config)
    needed(columns.caption, names, "caption_column", "captions")
    return image, columns


def _image_features(schema: pa.Schema) -> list[str]:
    """Returns the columns that the dataset itself declares to be pictures, in lower case."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return [name.lower() for name, feature in features.items() if feature.get("_type") == "Image"]
    except (KeyError, TypeError, ValueError, AttributeError):
        return []


def _rows(files: SplitFiles, columns: Columns) -> Iterator[tuple[_Place, dict[str, Any]]]:
    """Yields each row's place and what describes its picture, in order."""
    for path in files.files:
        with damage_named(path), pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                row = 0
                for batch in file.iter_batches(ROWS_AT_ONCE, row_groups=[group], columns=list(columns.all)):
                    for body in batch.to_pylist():
                        yield _Place(path, group, row), body
                        row += 1


def _cell(place: _Place, column: str) -> Any:  # noqa: ANN401  # whatever the column holds
    """Reads one cell."""
    row = place.row
    with damage_named(place.path), pq.ParquetFile(place.path) as file:
        for batch in file.iter_batches(PICTURES_AT_ONCE, row_groups=[place.row_group], columns=[column]):
            if row < len(batch):
                return batch.column(0)[row].as_py()
            row -= len(batch)
    raise UserError(f"{KEY}.path: {place.path} has fewer rows than it had. Get the file again.")
