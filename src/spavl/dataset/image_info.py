"""What is known of each picture of a dataset, in the place where SPA-VL's release has it: `image_info/meta.json`.

A list of objects, one a line. The release's fields `image, width, height, url, md5, text_count, class1, class2, class3`
have its names; its `caption_laion`, `text_similarity` and `gemini_caption` are `caption`, `caption_similarity` and
`model_caption`, for ours have other authors. The rows themselves carry only what is needed to train on them.
"""

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any

from spavl.dataset.meta_files import PICTURES, read_entries
from spavl.dataset.rows import Picture
from spavl.dataset.source_rows import stored_name
from spavl.records import leaf_parts
from spavl.store.files import write_atomically

IMAGE_INFO = Path("meta_files") / PICTURES
KEPT = (
    "width",
    "height",
    "size",
    "url",
    "md5",
    "sha256",
    "original_sha256",
    "perceptual_hash",
    "source",
    "source_name",
    "keyword",
    "similarity",
    "source_similarity",
    "caption_similarity",
    "text_count",
    "text_chars",
    "explicit_score",
    "columns",
)
"""Fields of an image's record; `size`, `md5` and `original_sha256` are of the original file, `sha256` of the stored."""


def write_image_info(folder: Path, pictures: Iterable[Picture]) -> None:
    """Writes what is known of a dataset's pictures.

    Args:
        folder: The dataset's folder.
        pictures: Those that its rows use.

    Raises:
        RunError: The disk is full.
    """
    _write(folder, map(image_info, pictures))


def copy_image_info(dataset: Path, folder: Path, pictures: Set[str]) -> None:
    """Writes what a dataset of ours says of those pictures that an export has, under the export's names of them.

    Args:
        dataset: The dataset's folder; where it says nothing, nothing is written.
        folder: The export's folder.
        pictures: The export's names of its pictures.

    Raises:
        UserError: The dataset's file is damaged.
        RunError: The disk is full.
    """
    _write(folder, ({**entry, "image": name} for name, entry in _known(dataset, pictures)))


def keep_image_info(dataset: Path, folder: Path, pictures: Set[str]) -> None:
    """Writes what a dataset of ours says of those pictures that are still shown; of none, there is no file.

    Args:
        dataset: The dataset's folder.
        folder: Where it is written; it may be the same.
        pictures: Exports' names of the pictures.

    Raises:
        UserError: The dataset's file is damaged.
        RunError: The disk is full.
    """
    known = [entry for _, entry in _known(dataset, pictures)]
    if not known:
        (folder / IMAGE_INFO).unlink(missing_ok=True)
    _write(folder, known)


def _known(dataset: Path, pictures: Set[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields (export's name, entry) of the pictures of which a dataset of ours says something."""
    if (dataset / IMAGE_INFO).is_file():
        for entry in read_entries(dataset / IMAGE_INFO):
            if (name := stored_name(str(entry.get("sha256")), "png")) in pictures:
                yield name, entry


def image_info(picture: Picture) -> dict[str, Any]:
    """Returns what is known of a picture; what nobody said or measured is null."""
    record = picture.record
    classes = zip(("class1", "class2", "class3"), leaf_parts(record.leaf), strict=True)
    return {
        "image": f"{record.id}.{record.format}",
        **picture.columns,
        **{name: getattr(record, name) for name in KEPT},
        **dict(classes),
    }


def _write(folder: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    lines = (json.dumps(entry, ensure_ascii=False).encode() for entry in entries)
    first = next(lines, None)
    if first is not None:
        rest = (b",\n" + line for line in lines)
        write_atomically(folder / IMAGE_INFO, itertools.chain([b"[\n", first], rest, [b"\n]\n"]))
