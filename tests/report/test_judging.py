"""The pairwise judge's leanings, worked by hand."""

from collections.abc import Sequence

import pytest

from spavl.records import Judgment, OrderVerdict, Response
from spavl.report.judging import tally_judging
from spavl.store import Counts

ANSWERS = {
    responder: Response(question_id="que-0", image_id="img-0", responder=responder, text=text, finish="stop")
    for responder, text in {"a": "long placeholder answer", "b": "short answer", "c": "other answer"}.items()
}
BY_ID = {answer.id: answer for answer in ANSWERS.values()}
COUNTS = Counts(items=3, records=2, failures=0, dropped=1, by_reason={"order_flip": 1})


def judged(first: str, second: str, verdict: OrderVerdict) -> Judgment:
    return Judgment(
        comparison_id=f"cmp-{first}-{second}",
        question_id="que-0",
        first_id=ANSWERS[first].id,
        second_id=ANSWERS[second].id,
        judge="marker",
        verdict=verdict,
        rationale="",
    )


def judgments(*verdicts: tuple[str, str, OrderVerdict]) -> Sequence[Judgment]:
    return [judged(*verdict) for verdict in verdicts]


def test_leanings_are_of_decided_verdicts_and_of_agreed_pairs() -> None:
    """A beats b in both orders, being longer; c beats a in both; b and c: whoever stands first, an order flip.

    First wins 4 of 6 verdicts; of two agreed pairs the longer answer wins one; b and c are of equal length.
    """
    found = tally_judging(
        judgments(
            ("a", "b", "first"),
            ("b", "a", "second"),
            ("a", "c", "second"),
            ("c", "a", "first"),
            ("b", "c", "first"),
            ("c", "b", "first"),
        ),
        BY_ID,
        COUNTS,
    )
    assert found.first_wins is not None and found.longer_wins is not None and found.flips is not None
    assert (found.first_wins.value, found.first_wins.n) == (pytest.approx(4 / 6), 6)
    assert (found.longer_wins.value, found.longer_wins.n) == (0.5, 2)
    assert (found.flips.value, found.flips.n) == (pytest.approx(1 / 3), 3)
    assert found.judge == "marker"
    assert list(found.strengths) == ["c", "a", "b"]
    assert found.strengths["c"].matches == 2


def test_a_judge_that_says_nothing_leans_nowhere() -> None:
    found = tally_judging(judgments(("a", "b", "tie"), ("b", "a", "tie")), BY_ID, COUNTS)
    assert found.first_wins is None and found.longer_wins is None
    assert [strength.value for strength in found.strengths.values()] == pytest.approx([0, 0], abs=1e-8)


def test_no_judgments_give_no_strengths() -> None:
    assert tally_judging([], {}, COUNTS).strengths == {}
