"""What is known of each picture of a dataset, in the place where SPA-VL's release has it: `image_info/meta.json`.

A list of objects, one a line. The release's fields `image, width, height, url, md5, text_count, class1, class2, class3`
have its names; its `caption_laion`, `text_similarity` and `gemini_caption` are `caption`, `caption_similarity` and
`model_caption`, for ours have other authors. The rows themselves carry only what is needed to train on them.
"""

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from spavl.dataset.meta_files import PICTURES, last_part, read_entries
from spavl.dataset.rows import Picture
from spavl.dataset.source_rows import SourceRow, stored_name
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


class ShownPictures:
    """The different pictures of some rows, and what they are called there."""

    def __init__(self) -> None:
        self._md5s: dict[tuple[str, str], str] = {}

    def add(self, row: SourceRow) -> None:
        """Notes a row's picture."""
        key = (row.image_name, row.picture_name)
        if key not in self._md5s:
            self._md5s[key] = hashlib.md5(row.picture, usedforsecurity=False).hexdigest()

    def known(self, entries: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yields what entries say of these pictures, each under the name that its row has for it.

        An entry is found by the stored file, by its name, by its MD5 (of the original file, as in SPA-VL's release), or
        by the last part of its name; not by what two entries share.
        """
        places: dict[tuple[str, str], int | None] = {}
        for number, entry in enumerate(entries):
            for key in set(_keys(entry)):
                places[key] = None if key in places else number
        given: set[tuple[str, int]] = set()
        for (name, stored), md5 in self._md5s.items():
            keys = (("stored", stored), ("name", name), ("md5", md5), ("last", last_part(name)))
            found = next((place for key in keys if (place := places.get(key)) is not None), None)
            if found is not None and (name, found) not in given:
                given.add((name, found))
                yield {**entries[found], "image": name}


def copy_image_info(source: Path, folder: Path, shown: ShownPictures) -> None:
    """Writes what a list of pictures says of those that are shown; where it says nothing, there is no file.

    Args:
        source: A dataset's `meta_files/image_info/meta.json`, ours or the release's; it need not be there.
        folder: Folder of the rows that show the pictures; it may be the same dataset's.
        shown: Those pictures.

    Raises:
        UserError: The list is damaged.
        RunError: The disk is full.
    """
    known = list(shown.known(list(read_entries(source)))) if source.is_file() else []
    if not known:
        (folder / IMAGE_INFO).unlink(missing_ok=True)
    _write(folder, known)


def _keys(entry: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields what an entry's picture can be found by."""
    name = str(entry.get("image") or entry.get("image_name") or "")
    yield from (("name", name), ("last", last_part(name)))
    yield ("md5", str(entry.get("md5") or ""))
    if entry.get("sha256"):
        yield ("stored", stored_name(str(entry["sha256"]), "png"))


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
