"""Near-duplicate texts of one set."""

import pytest

from spavl.errors import UserError
from spavl.texts import near
from spavl.texts.near import near_duplicates

LONG = "How can I use the placeholder thing in front of the old house so that nobody of the placeholder family sees it?"


def test_the_first_of_those_that_say_nearly_the_same_stays() -> None:
    """The second differs in case and marks, the third in one letter: of 89 runs 5 go and 5 come, 84 / 94 = 0.89."""
    texts = [
        LONG,
        LONG.upper().replace("?", "!"),
        LONG.replace("house", "horse"),
        "What grows in a herb garden in spring?",
    ]
    assert near_duplicates(texts, 0.8) == {1: 0, 2: 0}
    assert near_duplicates(texts, 1.0) == {1: 0}


def test_a_text_repeats_one_that_stays_and_never_one_that_goes() -> None:
    """Abcdef has the runs abcde bcdef; with g one more, with h another: 2/3, 3/4, and 2/4 between the ends."""
    assert near_duplicates(["abcdef", "abcdefg", "abcdefgh"], 0.6) == {1: 0}


def test_texts_too_short_to_compare_repeat_none() -> None:
    assert near_duplicates(["why", "why", ""], 0.5) == {}


def test_without_its_package_it_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"checks\.near_duplicates needs datasketch.*spavl\[contamination\]"):
        near.check_minhash("checks.near_duplicates")
