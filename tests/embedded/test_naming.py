"""The naming rule: equality of names after reduction, never a shared word."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spavl.embedded.naming import candidates, matches, plain, singular


@pytest.mark.parametrize(
    "answer",
    [
        "A kitchen knife.",
        "kitchen knife",
        "The picture shows a kitchen knife.",
        "This is an image of a kitchen knife on a table.",
        "It's a small red kitchen knife with a wooden handle.",
        "Two kitchen knives.",
        "I can see a kitchen knife lying on a table.",
        "Yes, it shows a kitchen knife.",
        "In the picture there is a kitchen knife.",
    ],
)
def test_answers_that_name_the_thing_match(answer: str) -> None:
    assert matches(answer, ["kitchen knife"])


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ("fire", "fire engine"),
        ("A fire engine.", "fire"),
        ("A sea horse.", "horse"),
        ("A hot dog.", "dog"),
        ("The picture shows a dog.", "cat"),
        ("No, it shows a cat.", "dog"),
        ("It is not a dog.", "dog"),
        ("The picture shows a cat. There is also a dog.", "dog"),
        ("", "dog"),
        ("...", "dog"),
    ],
)
def test_a_shared_word_or_another_thing_does_not_match(answer: str, name: str) -> None:
    assert not matches(answer, [name])


def test_any_of_the_names_counts_and_empty_names_never_do() -> None:
    assert matches("A car.", ["automobile", "car"])
    assert not matches("", ["", "!"])


def test_plural_and_singular_are_one() -> None:
    assert matches("The picture shows cherries.", ["cherry"])
    assert matches("A box.", ["boxes"])
    assert [singular(w) for w in ("glasses", "bus", "grass", "tennis", "knives", "people")] == [
        "glass",
        "bus",
        "grass",
        "tennis",
        "knife",
        "person",
    ]


def test_what_follows_a_preposition_is_cut_but_kept_as_a_candidate() -> None:
    assert candidates("A man in tuxedo.") == ("man in tuxedo", "man")


@given(st.text(alphabet=st.characters(codec="ascii"), max_size=60))
def test_a_plain_name_stays_plain(text: str) -> None:
    assert plain(plain(plain(text))) == plain(plain(text))


@given(st.sampled_from(["apple", "police car", "T-Rex", "man's shoe", "slice of pizza"]))
def test_every_name_matches_itself_in_a_sentence(name: str) -> None:
    assert matches(f"The picture shows a {name}.", [name])
