"""Asks every responder every question.

Responders loop outside questions: a local model loads once, and a failing server cannot hide another's answers. A
refusal and a truncated answer are responses; a call that brought no words is a failure, a filter stop by its own name.
"""

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from spavl.config import ResponderConfig
from spavl.errors import RunError, SpavlError
from spavl.models.ask import ask, check_answered, commonest
from spavl.models.base import Completion, ImageInput, Request
from spavl.models.call_store import StoredModel
from spavl.records import Failure, Question, Response
from spavl.store import Manifest, Outcome, StageDirectory

Item = tuple[str, Question]
WORDLESS: Mapping[str, str] = {"content_filter": "filtered", "refusal": "refused"}
"""How an answer without a word ended -> the reason of its failure."""


async def respond(
    responders: Mapping[str, ResponderConfig],
    questions: Sequence[Question],
    show: Callable[[str], ImageInput],
    open_model: Callable[[str], StoredModel],
    stage: StageDirectory,
) -> Manifest:
    """Runs the station: every responder, every question.

    Args:
        responders: Name -> model under a condition.
        questions: The questions, in their fixed order.
        show: Image id -> the picture.
        open_model: Name in `models` -> the model.
        stage: Where outcomes go.

    Raises:
        RunError: No or one responder gave any answer, so there is nothing to compare.
    """
    everything: list[Item] = []
    for name, responder in responders.items():
        items = [(f"{question.id}/{name}", question) for question in questions]
        everything += items
        try:
            await _ask_responder(name, responder, items, show, open_model(responder.model), stage)
        except RunError:
            raise
        except SpavlError as error:
            print(f"responder {name} left out: {error}", file=sys.stderr)
            failure = Failure(reason="responder_failed", message=str(error), transient=True)
            stage.append([Outcome(item, failure=failure) for item in stage.pending(item for item, _ in items)])
    lost = [failure for failure in stage.failures().values() if failure.transient]
    if lost:
        print(
            f"responses: {len(lost)} of {len(everything)} calls failed for a passing reason and are left out (most "
            f"often {commonest(lost)}); `--restart-from {stage.name}` asks them again, and only them.",
            file=sys.stderr,
        )
    check_answered(stage, len(everything))
    answered = Counter(response.responder for response in stage.each(Response))
    if len(answered) < 2:
        raise RunError(
            f"Only {len(answered)} of {len(responders)} responders gave an answer; at least two are needed. "
            f"The commonest reason is {commonest(stage.failures().values())}. All stand in {stage.results_path}. Mend "
            f"it, and run again with `--restart-from {stage.name}`: what was answered is kept."
        )
    facts = {
        "answers_by_responder": dict(sorted(answered.items())),
        "outcomes_by_responder": _outcomes(responders, stage),
    }
    return stage.finish([item for item, _ in everything], facts=facts)


def _outcomes(responders: Mapping[str, ResponderConfig], stage: StageDirectory) -> dict[str, dict[str, int]]:
    """Counts for each responder how its answers ended, and why there is none where there is none."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in responders}
    for response in stage.each(Response):
        counts[response.responder][response.finish] += 1
    for item, failure in stage.failures().items():
        counts[item.partition("/")[2]][failure.reason] += 1
    return {name: dict(sorted(count.items())) for name, count in counts.items()}


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
    items: Sequence[Item],
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
