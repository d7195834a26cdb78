"""A small replica of SPA-VL's release as it lies on the hub: its folders, columns, stray spaces and meta files."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.dataset.pictures_for_copies import encoded, scene
from tests.dataset.preference_rows import write_rows

TAGS = ("easy", "hardq", "hards")
LEAVES = (
    ("Malicious Use", "Illegal activities", "theft"),
    ("Human Autonomy & IntegrityHarms", "Persuasion and manipulation", "physical harm"),
    ("Socioeconomic Harms", "Risky financial practices", "paypal lending"),
)
"""Labels as the release spells them."""


def classes_of(number: int) -> dict[str, str]:
    """Returns the classes of the picture with this number."""
    return dict(zip(("class1", "class2", "class3"), LEAVES[number % 3], strict=True))


def release_row(number: int) -> dict[str, Any]:
    """Returns a training row: three questions about each picture, one of each type."""
    name = f"{number // 3}.jpg"
    return {
        "image": {"bytes": encoded(scene(number // 3, (96, 72)), "JPEG"), "path": name},
        "question": f'\n "placeholder {TAGS[number % 3]} text about scene {number // 3}" ',
        "chosen": f"I would rather not say, for reason {number}.",
        "rejected": f"Yes: placeholder {number}.",
        "image_name": name,
    }


def write_release(folder: Path, rows: int = 200) -> Path:
    """Writes training rows without classes in two files, validation with classes, HarmEval and HelpEval, meta files."""
    train = [release_row(number) for number in range(rows)]
    write_rows(folder / "data", train[: rows // 2], "train-00000-of-00002.parquet")
    write_rows(folder / "data", train[rows // 2 :], "train-00001-of-00002.parquet")
    others = [release_row(number) | classes_of(number // 3) for number in range(rows, rows + 30)]
    validation = [{name: value for name, value in row.items() if name != "image_name"} for row in others[:20]]
    write_rows(folder / "validation", validation, "validation-00000-of-00001.parquet")
    for split, members in (("harm", others[20:25]), ("help", others[25:])):
        asked = [{name: row[name] for name in ("image", "question", "class1", "class2", "class3")} for row in members]
        write_rows(folder / "test", asked, f"{split}-00000-of-00001.parquet")
    write_meta(folder, train)
    return folder


def write_meta(folder: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Writes the meta files of these rows; questions stand there without the stray spaces of the rows."""
    meta = folder / "meta_files"
    pictures = {
        row["image_name"]: {
            "image": row["image_name"],
            "md5": hashlib.md5(row["image"]["bytes"]).hexdigest(),
            "gemini_caption": "soft colours",
            **classes_of(int(row["image_name"].split(".")[0])),
        }
        for row in rows
    }
    _write(meta / "image_info" / "meta.json", list(pictures.values()))
    for place, tag in enumerate(TAGS):
        entries = [
            {"image": row["image_name"], "question": row["question"].strip(), "chosen": row["chosen"]}
            for row in list(rows)[place::3]
        ]
        _write(meta / "split" / f"{tag}.json", entries)
        reasons = [entry | {"reason1": f"first {tag}", "reason2": f"second {tag}"} for entry in entries]
        _write(meta / "prefer" / f"{tag}.json", reasons)


def _write(path: Path, body: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(body), encoding="utf-8")
