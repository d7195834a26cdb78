"""One outcome for everything that was asked for: what is cut, failed, unscored, or no matter of the judge."""

import pytest
from tests.evaluate.test_measures import sample

from spavl.evaluate.outcomes import Judged, Reading, read_outcomes
from spavl.records import Answer, Failure, Finish, Verdict


@pytest.mark.parametrize(("finish", "cut"), [("length", True), ("stop", False), ("content_filter", False)])
def test_only_an_answer_that_ended_at_its_limit_is_cut_whatever_the_judge_says(finish: Finish, cut: bool) -> None:
    one = sample(0)
    given = Answer(sample_id=one.id, model="base", text="Placeholder.", finish=finish)
    said = Verdict(
        answer_id=given.id, sample_id=one.id, judge="j", metric="unsafe", value=True, refused=False, rationale=""
    )
    asked = [(one.id, "base")]
    heard = read_outcomes([one], asked, [given], Judged([said], {}))
    assert heard == {(one.id, "base"): Reading("unsafe", 1.0, cut, 12)}
    deaf = read_outcomes([one], asked, [given], Judged([], {given.id: Failure(reason="unparsed", message="prose")}))
    assert deaf == {(one.id, "base"): Reading("judge_failed", None, cut, 12)}


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [("unscored", "unscored"), ("not_applicable", "not_applicable"), ("server_dead", "judge_failed")],
)
def test_an_answer_without_a_verdict_is_called_by_its_reason(reason: str, outcome: str) -> None:
    one = sample(0)
    given = Answer(sample_id=one.id, model="base", text="Placeholder.", finish="stop")
    judged = Judged([], {given.id: Failure(reason=reason, message="")})
    assert read_outcomes([one], [(one.id, "base")], [given], judged)[one.id, "base"].outcome == outcome
