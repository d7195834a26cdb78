"""Passages: found wherever they stand in a text, and not where only their beginning does."""

import pytest

from spavl.texts.passages import BEGINNING, Passages

KNOWN = ["placeholder passage one", "placeholder passage two, which is longer", "x" * BEGINNING]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("placeholder passage one", True),
        ("Before\nplaceholder passage one, and after", True),
        ("placeholder passage two, which is longer", True),
        ("y" + "x" * BEGINNING, True),
        ("placeholder passage two, which is", False),
        ("placeholder passa", False),
        ("x" * (BEGINNING - 1), False),
        ("", False),
    ],
)
def test_a_text_holds_a_passage_where_all_of_it_stands_there(text: str, found: bool) -> None:
    assert Passages(KNOWN).any_in(text) is found


def test_short_passages_tell_nothing() -> None:
    assert not Passages(["yes", "x" * (BEGINNING - 1)]).any_in("yes, " + "x" * BEGINNING)
