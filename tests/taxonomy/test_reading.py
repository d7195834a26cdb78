"""A user's own taxonomy file, and the one line each kind of mistake in it gets."""

from pathlib import Path

import pytest
from rich.console import Console

from spavl.errors import UserError
from spavl.taxonomy import load_taxonomy, render

GOOD = """
name: Mine
domains:
  - label: Kitchen
    categories:
      - label: Sharp
        leaves:
          - {label: knives, keywords: [kitchen knife]}
          - {label: graters, name: "[bold] graters", keywords: [grater, peeler]}
      - label: Hot
        leaves:
          - {label: pans, keywords: [pan]}
"""


def written(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_users_file_is_read_in_its_order(tmp_path: Path) -> None:
    mine = load_taxonomy(written(tmp_path, GOOD))
    assert [leaf.path for leaf in mine.leaves] == ["Kitchen/Sharp/knives", "Kitchen/Sharp/graters", "Kitchen/Hot/pans"]
    assert mine.leaf("graters").keywords == ("grater", "peeler")
    assert (mine.source, mine.note) == ("", "")


def test_the_fingerprint_changes_with_a_keyword_and_not_with_the_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    mine = load_taxonomy(written(tmp_path, GOOD)).fingerprint
    assert load_taxonomy(written(tmp_path / "elsewhere", GOOD + "# a comment\n")).fingerprint == mine
    assert load_taxonomy(written(tmp_path, GOOD.replace("peeler", "slicer"))).fingerprint != mine


def test_a_name_that_looks_like_markup_is_shown_as_it_is(tmp_path: Path) -> None:
    console = Console(width=100)
    with console.capture() as capture:
        console.print(render(load_taxonomy(written(tmp_path, GOOD))))
    assert "[bold] graters" in capture.get()


def test_a_label_under_two_categories_is_found_by_path_only(tmp_path: Path) -> None:
    mine = load_taxonomy(written(tmp_path, GOOD.replace("pans", "knives")))
    assert mine.leaf("Kitchen/Hot/knives").category == "Hot"
    with pytest.raises(UserError, match="several subcategories of Mine; choose one of 'Kitchen/Sharp/knives'"):
        mine.leaf("knives")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("graters", "knives", "the leaf 'knives' stands 2 times under 'Kitchen/Sharp'; keep one"),
        ("label: Hot", "label: Sharp", "the category 'Sharp' stands 2 times under 'Kitchen'"),
        ("peeler", "grater", "the keyword 'grater' stands 2 times under 'Kitchen/Sharp/graters'"),
        ("[grater, peeler]", "[]", "'Kitchen/Sharp/graters' has an empty list of `keywords`; give at least one"),
        ("[grater, peeler]", "[' ']", "'Kitchen/Sharp/graters': `keywords`: String should have at least 1"),
        ("[grater, peeler]", "grater", "'Kitchen/Sharp/graters': `keywords` is 'grater', not a list"),
        (", keywords: [pan]", "", "'Kitchen/Hot/pans' has no `keywords`"),
        ("keywords: [pan]", "keyword: [pan]", "'Kitchen/Hot/pans' has no `keywords`; copy the form"),
        ("{label: pans, ", "{labels: pans, ", "'Kitchen/Hot/entry 1' has no `label`"),
        ("name: Mine", "name: Mine\ncolour: red", "the file has the unknown key `colour`"),
        (
            "- label: Hot\n        leaves:\n",
            "- label: Hot\n        leaves: []\n        x:\n",
            "'Kitchen/Hot' has an empty",
        ),
        ("- label: Hot\n        leaves:\n", "- label: Hot\n        x:\n", "'Kitchen/Hot' has no `leaves`"),
        ("{label: pans, keywords: [pan]}", "pans", "'Kitchen/Hot': `leaves` holds 'pans', which is not an entry"),
        ("label: pans", "label: pots/pans", "`label` is 'pots/pans'; a label has no slash"),
        ("label: pans", "label: no", "'Kitchen/Hot/entry 1': `label`: Input should be a valid string (value: False)"),
        ("categories:", "categories: [", "is not YAML"),
        (GOOD, "- a list", "a taxonomy is a mapping with `name` and `domains`"),
        (GOOD, "", "a taxonomy is a mapping with `name` and `domains`"),
        (GOOD, "name: Mine\ndomains: []", "the file has an empty list of `domains`"),
        (GOOD, "name: Mine\ndomains: [{label: Kitchen}]", "'Kitchen' has no `categories`"),
    ],
)
def test_a_broken_file_gets_one_line_that_says_where(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(UserError) as caught:
        load_taxonomy(written(tmp_path, GOOD.replace(old, new, 1)))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere.yaml: No such file.* Write spa_vl, or the path of your own"):
        load_taxonomy(str(tmp_path / "nowhere.yaml"))


def test_a_file_that_is_not_text_is_not_yaml(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(UserError, match="is not YAML"):
        load_taxonomy(str(tmp_path / "mine.yaml"))
