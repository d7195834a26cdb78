"""The judgments station: a pairwise judge reads every comparison, one order at a time."""

from collections.abc import Callable, Mapping

from spavl.judges.base import Contest, PairwiseJudge, Preference
from spavl.judges.judge_items import judge_items
from spavl.models.base import ImageInput
from spavl.records import Comparison, Judgment, Question, Response
from spavl.store import Manifest, StageDirectory


async def judge_comparisons(
    judge: PairwiseJudge,
    questions: Mapping[str, Question],
    responses: Mapping[str, Response],
    comparisons: Mapping[str, Comparison],
    show: Callable[[str], ImageInput],
    stage: StageDirectory,
) -> Manifest:
    """Runs the station: one judgment per comparison; an unparsed verdict is a counted failure, never a tie."""

    def case(comparison: Comparison) -> Contest:
        question = questions[comparison.question_id]
        return contest_of(question, responses[comparison.first_id], responses[comparison.second_id], show)

    name = judge.card.name

    def record(comparison: Comparison, preference: Preference) -> Judgment:
        return Judgment(
            comparison_id=comparison.id,
            question_id=comparison.question_id,
            first_id=comparison.first_id,
            second_id=comparison.second_id,
            judge=name,
            **preference._asdict(),
        )

    await judge_items(stage, comparisons, judge, case, judge.compare, record)
    return stage.finish(comparisons)


def contest_of(question: Question, first: Response, second: Response, show: Callable[[str], ImageInput]) -> Contest:
    """Returns what a judge reads of two responses in this order."""
    return Contest(question.text, first.text, second.text, question.question_type.harmful, show(question.image_id))
