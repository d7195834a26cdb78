"""Packaged pictures: which emoji are kept, what they are called, where they are looked for."""

import json
from pathlib import Path

import pytest
from PIL import Image

from spavl.embedded.pictures import PICTURES_VARIABLE, packaged_pictures, photographs

ROWS = [
    ("1F52A", "kitchen knife", 7, 81, ["cooking", "knife", "weapon"]),
    ("1F697", "automobile", 5, 54, ["car", "driving"]),
    ("1F431", "cat face", 3, 34, ["cat", "face"]),
    ("1F575", "detective", 1, 25, ["sleuth"]),
    ("1F575-200D-2640-FE0F", "woman detective", 1, 25, ["woman"]),
    ("1F32D", "hot dog", 4, 44, ["dog", "hotdog"]),
    ("1F551", "two o’clock", 5, 58, ["clock"]),
    ("1F600", "grinning face", 0, 0, ["grin"]),
    ("1F47B", "ghost", 0, 11, ["monster"]),
    ("1F1EB-1F1F7", "flag: France", 9, 98, ["FR"]),
    ("2764", "red heart", 0, 14, ["heart"]),
    ("2602", "umbrella", 5, 59, ["rain"]),
]


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder with tiny stand-ins for the two npm packages."""
    assets = tmp_path / "node_modules/@lobehub/fluent-emoji-3d/assets"
    labels = tmp_path / "node_modules/emojibase-data/en"
    (labels / "shortcodes").mkdir(parents=True)
    assets.mkdir(parents=True)
    rows = [{"hexcode": h, "label": name, "group": g, "subgroup": s, "tags": tags} for h, name, g, s, tags in ROWS]
    (labels / "data.json").write_text(json.dumps(rows), encoding="utf-8")
    codes = {"1F697": ["car", "red_car"], "1F551": "clock2", "1F52A": "hocho"}
    (labels / "shortcodes/github.json").write_text(json.dumps(codes), encoding="utf-8")
    for code, *_ in ROWS:
        suffix = "-fe0f" if code == "2602" else ""
        Image.new("RGBA", (4, 4)).save(assets / f"{code.lower()}{suffix}.webp")
    return tmp_path


@pytest.fixture(autouse=True)
def _no_pictures_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PICTURES_VARIABLE, raising=False)


def test_only_things_one_can_see_are_kept_and_persons_in_base_form(packages: Path) -> None:
    fluent = [p for p in packaged_pictures(packages) if "fluent" in p.source]
    assert [p.caption for p in fluent] == [
        "kitchen knife",
        "automobile",
        "cat",
        "detective",
        "hot dog",
        "ghost",
        "umbrella",
    ]


def test_names_are_label_shortcodes_and_head_noun_but_no_loose_tag(packages: Path) -> None:
    names = {p.caption: p.names for p in packaged_pictures(packages)}
    assert names["kitchen knife"] == ("kitchen knife", "hocho", "knife")
    assert names["automobile"] == ("automobile", "car", "red car")
    assert names["cat"] == ("cat", "cat face")
    assert names["hot dog"] == ("hot dog",)


def test_the_variable_names_another_folder_of_pictures(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    Image.new("RGBA", (4, 4)).save(other / "1f47b.webp")
    monkeypatch.setenv(PICTURES_VARIABLE, str(other))
    fluent = [p for p in packaged_pictures(packages) if "fluent" in p.source]
    assert [(p.caption, p.path) for p in fluent] == [("ghost", other / "1f47b.webp")]


def test_without_the_npm_packages_the_photographs_remain(tmp_path: Path) -> None:
    found = packaged_pictures(tmp_path)
    assert found == photographs()
    assert {"astronaut", "cat", "cup of coffee", "flower"} <= {p.caption for p in found}


def test_every_photograph_opens_and_states_its_licence() -> None:
    for picture in photographs():
        with Image.open(picture.path) as image:
            assert min(image.size) >= 200
        assert picture.licence.startswith(("CC0", "CC BY 2.0", "public domain"))
        assert picture.caption not in picture.synonyms
