"""Asks every responder every question.

Responders loop outside questions: a local model loads once, and a failing server cannot hide another's answers. A
refusal and a truncated answer are responses; a call that brought no words is a failure, a filter stop by its own name.
"""

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

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
    for name, responder in responders.items():
        items = _items(questions, [name])
        try:
            await _ask_responder(name, responder, items, show, open_model(responder.model), stage)
        except RunError:
            raise
        except SpavlError as error:
            print(f"responder {name} left out: {error}", file=sys.stderr)
            failure = Failure(reason="responder_failed", message=str(error), transient=True)
            stage.append_missing(Outcome(item, failure=failure) for item in items)
    everything = _items(questions, tuple(responders))
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


def _items(questions: Mapping[str, Question], responders: Sequence[str]) -> LazyItems[Question]:
    """Returns `question/responder` -> question, a responder after the other."""
    return LazyItems(
        len(questions) * len(responders),
        lambda: (f"{question}/{name}" for name in responders for question in questions),
        lambda item: questions[item.partition("/")[0]],
    )


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


async def _ask_responder(
    name: str,
    responder: ResponderConfig,
    items: Mapping[str, Question],
    show: Callable[[str], ImageInput],
    model: StoredModel,
    stage: StageDirectory,
) -> None:
    def request(question: Question) -> Request:
        return response_request(responder, question, show(question.image_id))

    def read(question: Question, completion: Completion) -> Response | Failure:
        if not completion.text.strip():
            reason = WORDLESS.get(completion.finish, "empty")
            return Failure(reason=reason, message=f"The model gave no words and stopped with {completion.finish}.")
        return Response(
            question_id=question.id,
            image_id=question.image_id,
            responder=name,
            text=completion.text.strip(),
            finish=completion.finish,
        )

    await ask(stage, items, model, request, read, label=f"responses: {name}")
