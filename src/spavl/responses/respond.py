"""Asks every responder every question.

Models loop outside questions: a local model loads once, and a failing server cannot hide another's answers. Responders
of one model take turns, group by group, so that a budget which ends the asking leaves each of them its share. A
refusal and a truncated answer are responses; a call that brought no words is a failure, a filter stop by its own name.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from spavl.config import ResponderConfig
from spavl.errors import RunError, SpavlError
from spavl.execution import LazyItems
from spavl.models.ask import ask, check_answered, commonest
from spavl.models.base import Completion, ImageInput, Request
from spavl.models.call_store import StoredModel
from spavl.records import Failure, Question, Response
from spavl.store import Manifest, Outcome, StageDirectory
from spavl.store.take_down import REMOVED

WORDLESS: Mapping[str, str] = {"content_filter": "filtered", "refusal": "refused"}
"""How an answer without a word ended -> the reason of its failure."""


async def respond(
    responders: Mapping[str, ResponderConfig],
    questions: Mapping[str, Question],
    show: Callable[[str], ImageInput],
    open_model: Callable[[str], StoredModel],
    stage: StageDirectory,
) -> Manifest:
    """Runs the station: every responder, every question.

    Args:
        responders: Name -> model under a condition.
        questions: Question id -> question, in their fixed order.
        show: Image id -> the picture.
        open_model: Name in `models` -> the model.
        stage: Where outcomes go.

    Raises:
        RunError: No or one responder gave any answer, so there is nothing to compare.
    """
    for model, names in _by_model(responders).items():
        together = {name: responders[name] for name in names}
        if len(together) > 1 and await _trouble(together, model, questions, show, open_model, stage) is None:
            continue
        for name in names:  # one by one, so that what is wrong with one condition is no other's trouble
            alone = {name: responders[name]}
            error = await _trouble(alone, model, questions, show, open_model, stage)
            if error is not None:
                print(f"responder {name} left out: {error}", file=sys.stderr)
                failure = Failure(reason="responder_failed", message=str(error), transient=True)
                stage.append_missing(Outcome(item, failure=failure) for item in _items(questions, alone))
    everything = _items(questions, responders)
    check_answered(stage, len(everything))
    outcomes, answered = _outcomes(responders, stage)
    if len(answered) < 2:
        raise RunError(
            f"Only {len(answered)} of {len(responders)} responders gave an answer; at least two are needed. "
            f"The commonest reason is {commonest(one for _, one in stage.each_failure())}. All stand in "
            f"{stage.results_path}. Mend it, and run again with `--restart-from {stage.name}`: what was answered is "
            "kept."
        )
    facts = {
        "answers_by_responder": dict(sorted(answered.items())),
        "outcomes_by_responder": outcomes,
    }
    return stage.finish(everything, facts=facts)


def say_unanswering(stage: StageDirectory, manifest: Manifest) -> None:
    """Names the responders that gave no answer to any question for reasons that do not pass, with the commonest one."""
    answered = manifest.facts["answers_by_responder"]
    for name, outcomes in manifest.facts["outcomes_by_responder"].items():
        if name in answered:
            continue
        own = (one for item, one in stage.each_failure() if item.partition("/")[2] == name)
        lasting = [one for one in own if not one.transient and one != REMOVED]
        if lasting:
            print(
                f"responder {name} gave no answer to any of {sum(outcomes.values())} questions (most often "
                f"{commonest(lasting)}). Mend it, and `--restart-from {stage.name}` asks for what has no reply, and "
                "only for that; or take the responder out.",
                file=sys.stderr,
            )


def _by_model(responders: Mapping[str, ResponderConfig]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for name, responder in responders.items():
        names.setdefault(responder.model, []).append(name)
    return names


class _Asked(NamedTuple):
    """A question that a responder is asked."""

    responder: str
    question: Question


def _items(questions: Mapping[str, Question], responders: Iterable[str], turn: int | None = None) -> LazyItems[_Asked]:
    """Returns `question/responder` -> what is asked.

    Args:
        questions: Question id -> question.
        responders: Their names.
        turn: After so many questions it is the next responder's turn; None for all of them.
    """
    names = tuple(responders)

    def items() -> Iterator[str]:
        left = iter(questions)
        while some := list(islice(left, turn)):
            yield from (f"{question}/{name}" for name in names for question in some)

    def load(item: str) -> _Asked:
        question, _, name = item.partition("/")
        return _Asked(name, questions[question])

    return LazyItems(len(questions) * len(names), items, load, section=lambda item: item.partition("/")[2])


def _outcomes(
    responders: Mapping[str, ResponderConfig], stage: StageDirectory
) -> tuple[dict[str, dict[str, int]], Counter[str]]:
    """Counts for each responder how its answers ended, and why there is none where there is none; and its answers."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in responders}
    answered: Counter[str] = Counter()
    for response in stage.each(Response):
        answered[response.responder] += 1
        counts[response.responder][response.finish] += 1
    for item, failure in stage.each_failure():
        counts[item.partition("/")[2]][failure.reason] += 1
    return {name: dict(sorted(count.items())) for name, count in counts.items()}, answered


def response_request(responder: ResponderConfig, question: Question, image: ImageInput) -> Request:
    """Returns what a responder is asked."""
    return Request(
        prompt=question.text,
        image=image,
        system=responder.system,
        answer_prefix=responder.answer_prefix,
        max_tokens=responder.max_tokens,
        temperature=responder.temperature,
        top_p=responder.top_p,
    )


async def _trouble(
    responders: Mapping[str, ResponderConfig],
    model_name: str,
    questions: Mapping[str, Question],
    show: Callable[[str], ImageInput],
    open_model: Callable[[str], StoredModel],
    stage: StageDirectory,
) -> SpavlError | None:
    """Asks responders of one model, in turns, and returns what ended it too early, if anything did.

    Raises:
        RunError: The run cannot go on.
    """

    def request(asked: _Asked) -> Request:
        return response_request(responders[asked.responder], asked.question, show(asked.question.image_id))

    try:
        model = open_model(model_name)
        items = _items(questions, responders, turn=model.group_size)
        await ask(stage, items, model, request, _read, label=f"responses: {', '.join(responders)}")
    except RunError:
        raise
    except SpavlError as error:
        return error
    return None


def _read(asked: _Asked, completion: Completion) -> Response | Failure:
    if not completion.text.strip():
        reason = WORDLESS.get(completion.finish, "empty")
        return Failure(reason=reason, message=f"The model gave no words and stopped with {completion.finish}.")
    return Response(
        question_id=asked.question.id,
        image_id=asked.question.image_id,
        responder=asked.responder,
        text=completion.text.strip(),
        finish=completion.finish,
    )
