"""YAML as plain values, where no key stands twice."""

from pathlib import Path

import pytest

from spavl.config import load_config
from spavl.errors import UserError
from spavl.strict_yaml import parse_yaml
from spavl.taxonomy import load_taxonomy


def complaint(text: str) -> str:
    with pytest.raises(UserError) as caught:
        parse_yaml(text, "the file")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_values_are_plain() -> None:
    assert parse_yaml(b"a: [1, 2.5, yes, null]\nb: {c: '\xc3\xbc'}", "x") == {
        "a": [1, 2.5, True, None],
        "b": {"c": "ü"},
    }
    assert parse_yaml("", "x") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: 1\nrun: x\nseed: 2", "the file: the key `seed` stands twice (lines 1 and 3); keep one."),
        ("a:\n  b:\n    - {c: 1, d: 2}\n    - c: 1\n      c: 1", "the key `c` stands twice (lines 4 and 5)"),
        ("a: {b: 1, 'b': 2}", "the key `b` stands twice (line 1)"),
        ("a: &x {b: 1}\nc: *x\nc: *x", "the key `c` stands twice (lines 2 and 3)"),
    ],
)
def test_a_key_that_stands_twice_is_named_with_its_lines(text: str, said: str) -> None:
    assert said in complaint(text)


def test_the_same_key_in_two_mappings_and_a_merged_key_are_no_repetition() -> None:
    """The merged mapping is merged twice, once before it is made itself."""
    text = "base: &b {a: 1}\nmore: &m {<<: *b, a: 2}\nlast: {<<: *m, a: 3}\nlist: [*m, {'1': 0, 1: 0}]"
    assert parse_yaml(text, "x") == {
        "base": {"a": 1},
        "more": {"a": 2},
        "last": {"a": 3},
        "list": [{"a": 2}, {"1": 0, 1: 0}],
    }


@pytest.mark.parametrize("text", ["a: [1", "a: 2026-13-01", "[" * 5000, "? [a]\n: 1", "a: !!python/name:os.system"])
def test_what_is_not_yaml_is_one_line(text: str) -> None:
    assert complaint(text).startswith("the file is not YAML: ")


def test_a_value_that_holds_itself_ends() -> None:
    value = parse_yaml("a: &x [1, *x]", "x")
    assert value["a"][1] is value["a"]


def test_configurations_overrides_and_taxonomies_are_read_so(tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text("run: x\nrun: y\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"run\.yaml: the key `run` stands twice \(lines 1 and 2\); keep one"):
        load_config(config)
    config.write_text("run: x\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"The value of 'images=\{per_leaf: 1, per_leaf: 2\}': the key `per_leaf`"):
        load_config(config, ["images={per_leaf: 1, per_leaf: 2}"])
    taxonomy = tmp_path / "mine.yaml"
    taxonomy.write_text("name: Mine\nname: Yours\ndomains: []\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"mine\.yaml: the key `name` stands twice \(lines 1 and 2\)"):
        load_taxonomy(str(taxonomy))
