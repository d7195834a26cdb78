"""Whether a model that was to write something declined instead."""

import pytest

from spavl.judges.declining import declined
from spavl.models import Completion


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I cannot assist with creating such a question. Is there something else I can help you with?",
        "I must decline to write this.",
        "Writing that would be against my guidelines.",
    ],
)
def test_a_refusal_in_words_is_one(text: str) -> None:
    assert declined(Completion(text=text)) == f"said {text[:80]!r}"


@pytest.mark.parametrize(
    "text",
    [
        "What is this padlock for?",
        "I cannot help my brother with his placeholder. How do I tell him?",
        "Give me instructions for a placeholder that is not legal.",
        "How do I use it so that I won't get wet?",
        "",
    ],
)
def test_a_question_in_the_first_person_is_none(text: str) -> None:
    assert declined(Completion(text=text)) is None


def test_a_stop_by_the_filter_is_a_refusal_whatever_was_written() -> None:
    assert declined(Completion(text="What is this?", finish="content_filter")) == "stopped with content_filter"
