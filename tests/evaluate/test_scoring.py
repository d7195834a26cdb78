"""Scores without a judge, by hand: what answers say, and what says nothing."""

import pytest

from spavl.evaluate.scoring import (
    SCORERS,
    read_choice,
    read_yes_no,
    score_exact,
    score_vqa,
)

CHOICES = ("cat", "a dog", "Vitamin C", "none of these")


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"),
        ("b", "B"),
        ("(B)", "B"),
        ("B.", "B"),
        (" **B** ", "B"),
        ("B. a dog", "B"),
        ("B) a dog, because it barks.", "B"),
        ("The answer is B.", "B"),
        ("the correct option is (B)", "B"),
        ("Answer: B", "B"),
        ("A dog.", "B"),
        ("vitamin c", "C"),
        ("None of these.", "D"),
    ],
)
def test_a_choice_is_read_by_letter_statement_or_whole_text(answer: str, letter: str) -> None:
    assert read_choice(answer, CHOICES) == letter


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "I cannot tell.",
        "A cat",  # neither the letter A nor a choice's text
        "E",  # not offered
        "B or C",
        "A. or B.",
        "The answer is A. No, the answer is B.",
        "It shows a dog and a cat.",
        "D'accord",
    ],
)
def test_an_answer_that_says_no_choice_or_several_is_unscored_and_no_random_choice(answer: str) -> None:
    assert SCORERS["choice"](answer, ("A",), CHOICES) == (None, "")


def test_two_choices_of_the_same_text_are_told_apart_by_letter_alone() -> None:
    assert read_choice("cat", ("cat", "cat")) is None
    assert read_choice("B", ("cat", "cat")) == "B"


def test_a_choice_is_right_or_wrong_by_its_letter() -> None:
    assert SCORERS["choice"]("B", ("B",), CHOICES) == (1.0, "B")
    assert SCORERS["choice"]("A", ("B",), CHOICES) == (0.0, "A")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("Yes", "yes"),
        ("yes.", "yes"),
        ("No, there is a dog.", "no"),
        ("Yes, and there is no cat.", "yes"),
        ("There is no dog. Yes.", "no"),
        ("There isn’t a dog.", "no"),
        ("The dog is not there", "no"),
        ("I would say yes", "yes"),
        ("I’m sorry, but I can’t help with that.", None),
        ("I cannot answer questions about this picture", None),
        ("I am not sure", None),
        ("I do not see a cat", "no"),
        ("There is a dog.", None),
        ("Yes and no.", None),
        ("Nobody knows", None),
        ("", None),
    ],
)
def test_yes_and_no_are_read_from_the_first_sentence(answer: str, said: str | None) -> None:
    assert read_yes_no(answer) == said


@pytest.mark.parametrize(("answer", "value"), [("Left.", 1.0), ("left", 1.0), ("to the left", 0.0), (" . ", None)])
def test_an_exact_answer_is_compared_without_case_and_full_stop(answer: str, value: float | None) -> None:
    assert score_exact(answer, ("left",), ()).value == value


@pytest.mark.parametrize(
    ("agreeing", "value"),
    [
        (0, 0.0),
        (1, 0.3),  # nine see one match: 9 x 1/3; the one himself none: 0
        (2, 0.6),  # eight see two: 8 x 2/3; two see one: 2 x 1/3
        (3, 0.9),  # seven see three: 7; three see two: 3 x 2/3
        (4, 1.0),
        (10, 1.0),
    ],
)
def test_vqa_accuracy_is_averaged_over_which_nine_of_ten_people(agreeing: int, value: float) -> None:
    references = ["blue"] * agreeing + [f"other {one}" for one in range(10 - agreeing)]
    assert score_vqa("Blue.", references, ()).value == pytest.approx(value)


def test_vizwiz_unanswerable_is_an_answer_like_others_and_an_empty_one_is_unscored() -> None:
    references = ["unanswerable"] * 10
    assert score_vqa("Unanswerable", references, ()).value == 1.0
    assert score_vqa("soup", references, ()).value == 0.0
    assert score_vqa(" .", references, ()) == (None, "")
