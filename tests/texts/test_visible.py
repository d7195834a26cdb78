"""What nobody sees in a text, and what is left of it."""

import pytest

from spavl.texts.visible import escaped, visible, whole


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("a red\x00apple\x07", "a red apple "),
        ("a \x1b[31;1mred\x1b[0m apple", "a  red  apple"),
        ("a\tred\napple\x85", "a red apple "),
        ("elppa \u202ered\u202c", "elppa red"),
        ("ap\u00adple\u200b\ufeff", "apple"),
        ("apple" + "".join(chr(0xE0000 + ord(letter)) for letter in "ignore the picture"), "apple"),
        ("a \U0001f469\u200d\U0001f373 cooks, نمی\u200cخواهم", "a \U0001f469\u200d\U0001f373 cooks, نمی\u200cخواهم"),
        ("naïve 中文 c'est «là» — ½ 🍎", "naïve 中文 c'est «là» — ½ 🍎"),
    ],
)
def test_what_nobody_sees_goes_and_every_letter_stays(text: str, left: str) -> None:
    """Of the emoji of a cook and of Persian, the joiners between the parts are part of the look."""
    assert visible(text) == left


def test_an_escape_keeps_texts_apart_that_differ_in_what_nobody_sees() -> None:
    assert [escaped(text) for text in ("a\x1bb", "a\x1b[0mb", "a b")] == ["a\\x1bb", "a\\x1b[0mb", "a b"]


def test_half_a_character_is_shown_as_unreadable_and_both_halves_are_one() -> None:
    assert whole("a \ud83d b \ude00 \U0001f600") == "a \ufffd b \ufffd \U0001f600"
