"""The opinions station: further safety judges read every response; what they say stands beside and decides nothing."""

import functools
from collections.abc import Callable, Mapping, Sequence

from spavl.execution import LazyItems
from spavl.judges.base import Exchange, Opinion, SafetyJudge
from spavl.judges.judge_items import hear_items
from spavl.models.ask import check_reached
from spavl.models.base import ImageInput
from spavl.preferences.label import exchange_of
from spavl.records import Question, Response, SafetyLabel
from spavl.store import Manifest, StageDirectory


async def hear_opinions(
    judges: Mapping[str, SafetyJudge],
    questions: Mapping[str, Question],
    responses: Mapping[str, Response],
    show: Callable[[str], ImageInput],
    stage: StageDirectory,
) -> Manifest:
    """Runs the station: one label a judge and response, item `name/response id`; one failing judge loses no other's.

    Raises:
        RunError: The judges' models were out of reach too often, or no judge labelled anything.
    """

    def case(response: Response) -> Exchange:
        return exchange_of(questions[response.question_id], response, show(response.image_id))

    def record(name: str, response: Response, opinion: Opinion) -> SafetyLabel:
        return SafetyLabel(response_id=response.id, judge=name, **opinion._asdict())

    for name, judge in judges.items():
        items = _items([name], responses)
        await hear_items(stage, items, judge, case, judge.label, functools.partial(record, name))
    everything = _items(tuple(judges), responses)
    check_reached(stage, len(everything))
    cards = {name: judge.card.model_dump(mode="json") for name, judge in judges.items()}
    return stage.finish(everything, facts={"judges": cards})


def _items(judges: Sequence[str], responses: Mapping[str, Response]) -> LazyItems[Response]:
    """Returns `judge/response` -> response, a judge after the other."""
    return LazyItems(
        len(judges) * len(responses),
        lambda: (f"{name}/{response}" for name in judges for response in responses),
        lambda item: responses[item.rpartition("/")[2]],
    )
