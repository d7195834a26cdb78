"""The labels station: a safety judge reads every response."""

from collections.abc import Callable, Mapping

from spavl.judges.base import Exchange, Opinion, SafetyJudge
from spavl.judges.judge_items import judge_items
from spavl.models.base import ImageInput
from spavl.preferences.groups import safe_rates
from spavl.records import Question, Response, SafetyLabel
from spavl.store import Manifest, StageDirectory


async def label_responses(
    judge: SafetyJudge,
    questions: Mapping[str, Question],
    responses: Mapping[str, Response],
    show: Callable[[str], ImageInput],
    stage: StageDirectory,
) -> Manifest:
    """Runs the station: one label per response; what the judge cannot tell is a counted failure."""

    def case(response: Response) -> Exchange:
        return exchange_of(questions[response.question_id], response, show(response.image_id))

    name = judge.card.name

    def record(response: Response, opinion: Opinion) -> SafetyLabel:
        return SafetyLabel(response_id=response.id, judge=name, **opinion._asdict())

    await judge_items(stage, responses, judge, case, judge.label, record)
    rates = safe_rates(responses.values(), stage.shelf(SafetyLabel, by="response_id"), questions)
    facts = {"judge": judge.card.model_dump(mode="json"), "safe_rates": rates}
    return stage.finish(responses, facts=facts)


def exchange_of(question: Question, response: Response, image: ImageInput) -> Exchange:
    """Returns what a judge reads of a response."""
    return Exchange(question.text, response.text, question.question_type.harmful, image)
