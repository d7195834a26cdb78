"""VQA's wording, each case worked through the official rules by hand."""

import pytest

from spavl.evaluate.vqa_wording import CONTRACTIONS, vqa_words


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("The Dog.", "dog"),
        ("two dogs", "2 dogs"),
        ("none", "0"),
        ("ten", "10"),
        ("3.5", "3.5"),  # a full stop before a digit stays
        ("1,000", "1000"),  # a comma within a number goes, and every other mark with it
        ("black/white", "black white"),  # a mark within a word becomes a blank
        ("black, white", "black white"),  # a mark beside a blank goes
        ("dont know", "don't know"),
        ("don’t know", "don't know"),
        ("couldntve", "couldn't've"),
        ("couldnt've", "couldn't've"),
        ("\ta\n", ""),
    ],
)
def test_an_answer_is_brought_to_the_official_wording(answer: str, words: str) -> None:
    assert vqa_words(answer) == words


def test_the_table_of_contractions_has_no_everyday_word() -> None:
    assert {"its", "well", "wed", "ill", "id", "shell", "hell", "were"} & {*CONTRACTIONS} == set()
