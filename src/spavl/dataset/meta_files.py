"""What SPA-VL's release says about its training rows in files beside them: classes, question types and rationales.

The release's training rows carry none of these, its validation rows carry classes. `image_info/meta.json` has a
picture's classes, `split/` and `prefer/` have the questions of each type, and `prefer/` the judge's two rationales. It
joins by the picture's name and the question; where names are spelt in two ways, by the last part of the name if that is
unique, and a picture by its MD5.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from spavl.dataset.columns import row_pictures
from spavl.errors import UserError
from spavl.texts.visible import whole

TAGS = ("easy", "hardq", "hards", "hardd")
"""The release's names of question types; its code calls `hards` `hardd`."""
CLASSES = ("class1", "class2", "class3")
PICTURES = Path("image_info") / "meta.json"
AMBIGUOUS: dict[str, Any] = {}
"""What is known under a key that several entries share: nothing."""

Known = dict[tuple[str, ...], dict[str, Any]]


class MetaFiles(NamedTuple):
    """What the files say."""

    files: tuple[Path, ...]
    pictures: Known
    """Picture's name, last part of it, or MD5 -> classes."""
    questions: Known
    """(picture's name or its last part, question), or the question alone -> type and rationales."""

    def of(self, name: str, md5: str, question: str) -> dict[str, Any]:
        """Returns what is known of a row, under the columns' names."""
        last, asked = last_part(name), _plain(question)
        classes = _first(self.pictures, [(name,), (last,), (md5,)])
        return classes | _first(self.questions, [(name, asked), (last, asked), (asked,)])

    def of_row(self, row: Mapping[str, Any], question: str) -> dict[str, Any]:
        """Returns what is known of a row with a picture: by the picture's name, or its bytes."""
        if not self.files:
            return {}
        picture = row_pictures(row)[0]
        md5 = hashlib.md5(picture.content, usedforsecurity=False).hexdigest() if picture.content else ""
        return self.of(str(row.get("image_name") or picture.name or ""), md5, question)


NO_META = MetaFiles((), {}, {})


def meta_paths(meta_files: Path | None, folder: Path, field: str = "data.meta_files") -> tuple[Path, ...]:
    """Returns the files that are joined: none where no folder is named.

    Args:
        meta_files: The folder that is named; it is looked for in the dataset's first.
        folder: The dataset's folder.
        field: Where it is named, for messages.

    Raises:
        UserError: There is no such folder, or it lacks `image_info/meta.json`.
    """
    if meta_files is None:
        return ()
    places = [folder / meta_files, meta_files]
    found = next((place for place in places if (place / PICTURES).is_file()), None)
    if found is None:
        raise UserError(
            f"{field}: neither {places[0]} nor {places[1]} holds {PICTURES}. Give the folder of the release's meta "
            "files, or leave it out to go without classes and question types."
        )
    questions = [found / part / f"{tag}.json" for part in ("split", "prefer") for tag in TAGS]
    return (found / PICTURES, *(path for path in questions if path.is_file()))


def read_meta(files: tuple[Path, ...]) -> MetaFiles:
    """Reads the files that `meta_paths` found.

    Raises:
        UserError: A file is damaged, or is no list of objects.
    """
    pictures: Known = {}
    questions: Known = {}
    for path in files:
        for entry in read_entries(path):
            name = str(entry.get("image") or entry.get("image_name") or "")
            if path.name == PICTURES.name:
                classes = {key: whole(str(entry[key])).strip() for key in CLASSES if entry.get(key)}
                _note(pictures, {(name,), (last_part(name),), (str(entry.get("md5", "")),)}, classes)
            elif question := _plain(str(entry.get("question") or "")):
                said = {"question_type": path.stem} | _rationales(entry)
                _note(questions, {(name, question), (last_part(name), question), (question,)}, said)
    return MetaFiles(files, pictures, questions)


def read_entries(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yields the objects of a JSON list, or of a mapping whose keys are pictures' names.

    Raises:
        UserError: The file is damaged, or is no list of objects.
    """
    try:
        body = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"meta_files: {path} cannot be read ({str(error)[:200]}). Get the file again.") from error
    if isinstance(body, dict):
        body = [{"image": name} | entry if isinstance(entry, dict) else entry for name, entry in body.items()]
    if not isinstance(body, list) or not all(isinstance(entry, dict) for entry in body):
        raise UserError(f"meta_files: {path} is no list of objects. Get the release's own file.")
    yield from body


def _rationales(entry: Mapping[str, Any]) -> dict[str, Any]:
    reasons = [whole(str(entry[key])) for key in ("reason1", "reason2") if entry.get(key)]
    return {"rationales": reasons} if reasons else {}


def _note(known: Known, keys: set[tuple[str, ...]], said: dict[str, Any]) -> None:
    """Adds what an entry says under each of its keys; a key under which another entry says otherwise tells nothing."""
    for key in keys:
        if not all(key):
            continue
        before = known.get(key)
        agrees = before is None or (before and all(said.get(name, value) == value for name, value in before.items()))
        known[key] = (before or {}) | said if agrees else AMBIGUOUS


def _first(known: Known, keys: list[tuple[str, ...]]) -> dict[str, Any]:
    return next((known[key] for key in keys if known.get(key)), {})


def last_part(name: str) -> str:
    """Returns a picture's name without the folders that some revisions put before it."""
    return name.replace("\\", "/").rsplit("/", 1)[-1]


def _plain(question: str) -> str:
    return " ".join(question.split())
