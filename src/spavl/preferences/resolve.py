"""Turns the two judgments of a pair, one for each order, into a preference pair, or says why there is none.

A tie and an order flip are outcomes of judging, dropped and counted under their names; a judgment that failed makes
the pair a failure.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean

from spavl.execution import LazyItems
from spavl.models.ask import outcome
from spavl.preferences.compare import Comparisons
from spavl.records import Failure, Judgment, PreferencePair, Question, Response, SafetyLabel
from spavl.store import Manifest, StageDirectory


def resolve(
    comparisons: Comparisons,
    judgments: Mapping[str, Judgment],
    questions: Mapping[str, Question],
    responses: Mapping[str, Response],
    labels: Mapping[str, SafetyLabel],
    stage: StageDirectory,
) -> Manifest:
    """Runs the station: one item per drawn pair of responses.

    Args:
        comparisons: What was drawn.
        judgments: Comparison id -> its judgment.
        questions: Question id -> question.
        responses: Response id -> response.
        labels: Response id -> its label.
        stage: Where outcomes go.
    """
    items = LazyItems(
        len(comparisons) // 2,
        lambda: ("/".join(one.pair_key) for one, _ in comparisons.pairs()),
        lambda item: item,
    )
    stage.append_missing(
        outcome(
            "/".join(one.pair_key),
            resolve_pair([judgments.get(one.id), judgments.get(other.id)], questions, responses, labels),
        )
        for one, other in comparisons.pairs()
    )
    return stage.finish(items)


def resolve_pair(
    both: Sequence[Judgment | None],
    questions: Mapping[str, Question],
    responses: Mapping[str, Response],
    labels: Mapping[str, SafetyLabel],
) -> PreferencePair | Failure:
    """Returns the pair that both orders agree on, or the reason why there is none."""
    judged = [judgment for judgment in both if judgment is not None]
    if len(judged) < 2:
        return Failure(reason="judge_failed", message=f"{len(judged)} of 2 orders were judged.")
    winners = {judgment.winner_id for judgment in judged}
    if winners == {None}:
        return Failure(reason="tie", message="Both orders are a tie.", dropped=True)
    if len(winners) > 1:
        return Failure(reason="order_flip", message="The verdict changes with the order.", dropped=True)
    judgment = judged[0]
    chosen = responses[str(judgment.winner_id)]
    rejected = responses[judgment.second_id if judgment.winner_id == judgment.first_id else judgment.first_id]
    if chosen.id not in labels or rejected.id not in labels:
        return Failure(reason="unlabelled", message="A response has no safety label.")
    question = questions[judgment.question_id]
    return PreferencePair(
        question_id=question.id,
        image_id=question.image_id,
        leaf=question.leaf,
        question_type=question.question_type,
        question=question.text,
        chosen_id=chosen.id,
        rejected_id=rejected.id,
        chosen=chosen.text,
        rejected=rejected.text,
        chosen_responder=chosen.responder,
        rejected_responder=rejected.responder,
        chosen_verdict=labels[chosen.id].verdict,
        rejected_verdict=labels[rejected.id].verdict,
        chosen_finish=chosen.finish,
        rejected_finish=rejected.finish,
        judge=judgment.judge,
        judgment_ids=tuple(one.id for one in judged),
        rationales=tuple(one.rationale for one in judged),
        strength=_strength([one.strength for one in judged]),
    )


def _strength(said: Sequence[float | None]) -> float | None:
    """Returns how strong a preference is, both orders having their say; None where one of them says nothing."""
    known = [one for one in said if one is not None]
    return fmean(known) if len(known) == len(said) else None
