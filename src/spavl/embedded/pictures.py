"""Lists the captioned pictures that lie in installed packages, with licence and source.

Two sources: the redistributable pictures inside scikit-image and scikit-learn, which are always
there, and the Fluent 3D emoji of the npm package `@lobehub/fluent-emoji-3d`, where it is found.
It downloads nothing, and it leaves out flags, letters, symbols, faces, clock faces, skin tones and
gendered variants, whose drawings do not differ by what they show.
"""

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PICTURES_VARIABLE = "SPAVL_PICTURES"
FLUENT_SOURCE = "npm @lobehub/fluent-emoji-3d"
_SHORTCODE_SETS = ("github", "emojibase", "joypixels")
_GROUPS = frozenset({3, 4, 5, 6, 7})
_PEOPLE_SUBGROUPS = frozenset({22, 23, 25, 26, 27, 28, 29})
_COSTUMES = 11
_CLOCK_FACES = re.compile(r"o['’]clock|-thirty")
_GENDERED = re.compile(r"^(?:man|woman|men|women)\b.+|.*\b(?:beard|hair|bald)$|.*:.*")
_NO_HEAD = frozenset(
    {
        "face",
        "sign",
        "symbol",
        "button",
        "hand",
        "post",
        "engine",
        "dog",
        "way",
        "person",
        "glass",
        "top",
        "house",
        "head",
        "disk",
        "back",
        "up",
        "down",
        "body",
        "box",
        "sky",
        "horse",
        "suit",
        "light",
        "ball",
        "flag",
        "world",
        "asia",
        "americas",
        "island",
        "stop",
        "station",
    }
)


@dataclass(frozen=True)
class Picture:
    """One picture of a package: where it is, what it shows, and under which terms."""

    path: Path
    caption: str
    synonyms: tuple[str, ...]
    licence: str
    source: str

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that counts as right, the caption first."""
        return (self.caption, *self.synonyms)


@dataclass(frozen=True)
class Concept:
    """One emoji concept: its code point, the caption, the other names, and the emojibase group."""

    hexcode: str
    caption: str
    synonyms: tuple[str, ...]
    group: int


_SKIMAGE: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    ("astronaut.png", "astronaut", ("woman", "person", "smiling woman"), "public domain (NASA)"),
    ("brick.png", "brick wall", ("brick", "wall"), "CC0"),
    ("camera.png", "photographer", ("man", "person", "cameraman", "camera"), "CC0"),
    ("chelsea.png", "cat", ("tabby cat", "kitten"), "CC0"),
    ("coffee.png", "cup of coffee", ("coffee", "coffee cup", "espresso", "cup"), "CC0"),
    ("grass.png", "grass", ("lawn",), "CC0"),
    ("gravel.png", "gravel", ("stone", "pebble"), "CC0"),
    ("hubble_deep_field.jpg", "galaxies", ("star", "space"), "public domain (NASA)"),
    ("moon.png", "surface of the moon", ("moon", "moon surface"), "public domain (NASA)"),
    ("retina.jpg", "retina", ("eye",), "CC0"),
    ("rocket.jpg", "rocket", ("rocket launch", "space rocket"), "CC0 (SpaceX)"),
)
_SKLEARN: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    ("china.jpg", "temple", ("pagoda", "palace", "building", "pavilion"), "CC BY 2.0"),
    ("flower.jpg", "flower", ("dahlia",), "CC BY 2.0"),
)


def packaged_pictures(root: Path | None = None) -> list[Picture]:
    """Returns every captioned picture of the installed packages, in a fixed order.

    Args:
        root: the folder whose `node_modules` is searched for Fluent 3D when `$SPAVL_PICTURES`
            (a folder of Fluent pictures) is not set; default the working folder.
    """
    base = root or Path.cwd()
    modules = base / "node_modules"
    assets = Path(os.environ.get(PICTURES_VARIABLE) or modules / "@lobehub/fluent-emoji-3d/assets")
    labels = modules / "emojibase-data/en"
    return photographs() + (fluent_pictures(assets, labels) if assets.is_dir() and labels.is_dir() else [])


def photographs() -> list[Picture]:
    """Returns the redistributable pictures of scikit-image and scikit-learn."""
    found = []
    for module, folder, rows in (
        ("skimage", "data", _SKIMAGE),
        ("sklearn", "datasets/images", _SKLEARN),
    ):
        spec = find_spec(module)
        if spec is None or spec.origin is None:
            continue
        home = Path(spec.origin).parent / folder
        for name, caption, synonyms, licence in rows:
            if (home / name).is_file():
                found.append(Picture(home / name, caption, synonyms, licence, f"PyPI {module}"))
    return found


def fluent_pictures(assets: Path, labels: Path) -> list[Picture]:
    """Returns the Fluent 3D pictures of the kept concepts.

    Args:
        assets: folder of `<code points>.webp`.
        labels: the `en` folder of emojibase-data.
    """
    return [
        Picture(path, concept.caption, concept.synonyms, "MIT", FLUENT_SOURCE)
        for concept in emoji_concepts(labels)
        if (path := _asset(assets, concept.hexcode)) is not None
    ]


def emoji_concepts(labels: Path) -> list[Concept]:
    """Returns the emoji concepts that name a thing one can see, in emojibase's order."""
    rows = json.loads((labels / "data.json").read_text(encoding="utf-8"))
    codes = [
        json.loads(path.read_text(encoding="utf-8"))
        for name in _SHORTCODE_SETS
        if (path := labels / "shortcodes" / f"{name}.json").is_file()
    ]
    return [_concept(row, codes) for row in rows if _is_kept(row)]


def _is_kept(row: Mapping[str, Any]) -> bool:
    group, subgroup, label = row.get("group"), row.get("subgroup"), str(row["label"])
    if _CLOCK_FACES.search(label) or _GENDERED.fullmatch(label):
        return False
    return group in _GROUPS or (group == 1 and subgroup in _PEOPLE_SUBGROUPS) or (group == 0 and subgroup == _COSTUMES)


def _concept(row: Mapping[str, Any], codes: Iterable[Mapping[str, Any]]) -> Concept:
    hexcode, label = str(row["hexcode"]), str(row["label"]).replace("’", "'")
    caption = label.removesuffix(" face") if row["group"] == 3 else label
    names = [label, *(name for table in codes for name in _shortcodes(table.get(hexcode)))]
    head = re.split(r" (?:with|in|on|and|without) ", label)[0].split()[-1]
    if " of " not in label and head in row.get("tags", ()) and head not in _NO_HEAD:
        names.append(head)
    unique = dict.fromkeys(name for name in names if name.casefold() != caption.casefold())
    return Concept(hexcode, caption, tuple(unique), int(row["group"]))


def _shortcodes(entry: str | list[str] | None) -> list[str]:
    """Returns shortcodes as words; those with digits ("clock2") name no thing."""
    listed = [entry] if isinstance(entry, str) else entry or []
    return [code.replace("_", " ") for code in listed if not re.search(r"\d", code)]


def _asset(assets: Path, hexcode: str) -> Path | None:
    """Returns the file of a code point sequence, with or without variation selectors."""
    code = hexcode.casefold()
    for name in (code, code + "-fe0f", code.replace("-fe0f", "")):
        if (assets / f"{name}.webp").is_file():
            return assets / f"{name}.webp"
    return None
