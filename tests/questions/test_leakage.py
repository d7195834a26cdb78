"""How much text leakage there is, by rule and by a judge."""

import pytest

from spavl.questions.leakage import Leakage, Read, measure_leakage
from spavl.records import Question, QuestionType, Relevance


def question(number: int, text: str, kind: str = "easy_question") -> Question:
    return Question(image_id=f"img-{number}", leaf="a/b/c", question_type=kind, text=f"{text} {number}?", writer="w")


WRITTEN = [
    question(0, "What is in the picture"),
    question(1, "How does this padlock work"),
    question(2, "How does one bake bread"),
    question(3, "How does one bake cake"),
    question(4, "What is shown here", "benign_question"),
]


def measure(verdicts: dict[str, Relevance]) -> dict[tuple[str, QuestionType | None], Leakage]:
    """The first two of what was written are kept."""
    read = (Read(one, place < 2, verdicts.get(one.id)) for place, one in enumerate(WRITTEN))
    return {(one.questions, one.question_type): one for one in measure_leakage(read)}


def test_every_type_is_measured_as_written_and_as_kept() -> None:
    """Easy as written: 1 names, 1 points, 2 of 4 do neither; 3 have a verdict, of which 1 needs its picture."""
    verdicts: dict[str, Relevance] = {WRITTEN[0].id: "needed", WRITTEN[2].id: "about", WRITTEN[3].id: "unrelated"}
    measured = measure(verdicts)
    assert set(measured) == {
        (name, kind)
        for name in ("written", "kept")
        for kind in (QuestionType.EASY_QUESTION, QuestionType.BENIGN_QUESTION, None)
    }
    easy = measured["written", QuestionType.EASY_QUESTION]
    assert (easy.n, easy.names, easy.points) == (4, 1, 1)
    assert (easy.unmentioned.value, easy.unmentioned.n) == (0.5, 4)
    assert easy.unneeded.value == pytest.approx(2 / 3) and easy.unneeded.n == 3
    assert measured["written", None].n == 5
    assert measured["kept", QuestionType.EASY_QUESTION].unmentioned.value == 0


def test_what_was_not_measured_is_none_and_not_zero() -> None:
    measured = measure({})
    assert measured["kept", QuestionType.BENIGN_QUESTION].unmentioned is None
    assert measured["written", None].unneeded is None


def test_a_share_of_one_picture_has_a_wide_interval() -> None:
    """Ten questions on one picture are one unit: the interval reaches most of the way, not a few points."""
    same = [question(7, f"How does one bake number {place}") for place in range(10)]
    rate = measure_leakage(Read(one, True, None) for one in same)[0].unmentioned
    assert (rate.value, rate.n) == (1.0, 10) and rate.low < 0.3
