"""What building a dataset will ask of its models: calls, tokens, money and time, before anything is asked.

Calls follow from the configuration; where a stage's inputs are there already they are exact, and what the call store
holds is found. Tokens are an upper estimate: prompts are measured by their length (`models.most_tokens`), answers by
their limit. A judge that asks no model, and what is measured after the build, are not in it.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from spavl.budget_config import plain
from spavl.config import OpenAIModelConfig, ResponderConfig, RubricJudgeConfig, RunConfig
from spavl.images import CaptionOutcomes, caption_request, load_caption_prompt
from spavl.judge_config import judges_model
from spavl.judges import Contest, Exchange, label_requests, manner_of
from spavl.judges.marks import Manner
from spavl.judges.question_rubric import HARMFULNESS, RELEVANCE, QuestionRubric, check_request
from spavl.judges.rubric import compare_case
from spavl.models import ImageInput, Request, Spent, Tokens, call_key, cost, most_tokens
from spavl.pipeline.build import asked_questions, subjects_of
from spavl.pipeline.road import BUILD_STAGES, OPINIONS, Road, open_road
from spavl.preferences import contest_of, draw_comparisons, exchange_of, safety_groups
from spavl.question_config import JudgedCheckConfig
from spavl.questions.check import asked_about
from spavl.questions.write import plan_tasks, plan_tries, question_requests
from spavl.records import ImageRecord, Question, QuestionType, Response
from spavl.responses import response_request
from spavl.store import Manifest, Places
from spavl.taxonomy import Taxonomy, chosen_leaves, load_taxonomy

SAMPLES = 12
"""Placeholders that stand for inputs which are not there yet."""
CALL_S = 1.0
TOKENS_PER_S = 40.0
"""How fast a server is assumed to be until the run has asked it: seconds for a call, and tokens written in a second."""


class Line(NamedTuple):
    """What one station will ask of one model."""

    stage: str
    model: str
    responder: str
    """Whose answers they are, or which check asks; empty where the station has neither."""
    calls: int
    exact: bool
    """Whether the inputs are known; otherwise `calls` is the most there can be."""
    stored: int
    """Calls that cost nothing: the store has them, or two are the same."""
    owed: int
    """Calls that a finished stage has no answer to: nobody is asked unless the stage is made again."""
    prompt_tokens: int
    """Of the calls that are to be made, at most; so are the following."""
    completion_tokens: int
    money: float | None
    """None where the model has no price."""
    currency: str
    seconds: float | None
    """None for a local model that the run has not asked yet."""


class Forecast(NamedTuple):
    """What a build will ask of its models."""

    lines: tuple[Line, ...]
    again: tuple[str, ...]
    """What finished stages owe, and the way to it."""
    short: tuple[str, ...]
    """Budgets that may not suffice."""


class _Calls(NamedTuple):
    """Calls of one station to one model."""

    stage: str
    model: str
    responder: str
    number: int
    exact: bool
    requests: Iterable[Request]
    """All of them where `exact`, otherwise some that stand for them."""


class _Known(NamedTuple):
    """What is there of a run; None where its stage is not finished."""

    images: Mapping[str, ImageRecord] | None = None
    captions: CaptionOutcomes | None = None
    written: Mapping[str, Question] | None = None
    questions: Mapping[str, Question] | None = None
    """Those that are answered: about pictures that are not kept for the test, and found good."""
    responses: Mapping[str, Response] | None = None
    safe_rates: dict[str, float] | None = None


def forecast_build(config: RunConfig) -> Forecast:
    """Works out what `build` would ask; nothing is asked, and where there is no run yet none is made.

    Raises:
        UserError: The configuration names something that is not there, or another process is at work in the run.
    """
    taxonomy = load_taxonomy(config.taxonomy)
    if not config.run.is_dir():
        return _forecast(config, _calls(config, taxonomy, _Known(), _unseen), None)
    with open_road(config) as road:
        known = _known(road)
        show = _unseen if known.images is None else road.shower()
        return _forecast(config, _calls(config, taxonomy, known, show), road)


def _known(road: Road) -> _Known:
    manifests = road.run.manifests(BUILD_STAGES)
    return _Known(
        images=road.images() if "images" in manifests else None,
        captions=road.captions() if "captions" in manifests else None,
        written=road.run.shelf("questions", Question) if "questions" in manifests else None,
        questions=asked_questions(road) if "checked_questions" in manifests else None,
        responses=road.run.shelf("responses", Response) if "responses" in manifests else None,
        safe_rates=manifests["labels"].facts["safe_rates"] if "labels" in manifests else None,
    )


def _calls(config: RunConfig, taxonomy: Taxonomy, known: _Known, show: Callable[[str], ImageInput]) -> Iterator[_Calls]:
    leaves = chosen_leaves(config, taxonomy)
    images = _placeholder_images(leaves.collected) if known.images is None else known.images
    pictures = sum(leaves.quotas.values()) if known.images is None else len(images)
    there = known.images is not None
    if config.captions.writer is not None:
        told = load_caption_prompt(config.captions.prompt)
        captions = (caption_request(config.captions, told, show(image)) for image in images)
        yield _Calls("captions", config.captions.writer, "", pictures, there, captions)
    tasks = plan_tasks(config.questions, subjects_of(images, known.captions or {}))
    request, first = question_requests(config.questions, taxonomy, tasks, show), plan_tries(config.questions)[0]
    each = len(tasks) // max(1, len(images))
    captioned = there and known.captions is not None
    written = (request(task, first) for task in tasks.values())
    yield _Calls("questions", config.questions.writer, "", each * pictures, captioned, written)
    yield from _check_calls(config, taxonomy, known, each * pictures, show)

    asked_pictures = pictures - _test_pictures(config, pictures, sum(leaves.quotas[leaf] for leaf in leaves.held_out))
    questions = _placeholder_questions(config, taxonomy) if known.questions is None else known.questions
    asked = each * asked_pictures if known.questions is None else len(questions)
    for name, responder in config.responses.responders.items():
        requests = (response_request(responder, one, show(one.image_id)) for one in questions.values())
        yield _Calls("responses", responder.model, name, asked, known.questions is not None, requests)
    yield from _judge_calls(config, known, questions, asked, show)


def _check_calls(
    config: RunConfig, taxonomy: Taxonomy, known: _Known, most: int, show: Callable[[str], ImageInput]
) -> Iterator[_Calls]:
    """Yields the checks' calls, at most: a question that one check leaves out is not read by the next."""
    questions = known.written or _placeholder_questions(config, taxonomy)
    number = most if known.written is None else len(questions)
    checks: list[tuple[str, QuestionRubric[Any], JudgedCheckConfig | None]] = [
        ("harmfulness", HARMFULNESS, config.checks.harmfulness),
        ("relevance", RELEVANCE, config.checks.relevance),
    ]
    for name, rubric, check in checks:
        if check is not None:
            some = islice(questions.values(), SAMPLES if known.questions is None else None)
            manner = Manner(check.max_tokens, check.marks)
            requests = (check_request(rubric, asked_about(one, taxonomy, show), manner) for one in some)
            yield _Calls("checked_questions", check.model, name, number, False, requests)


def _judge_calls(
    config: RunConfig, known: _Known, questions: Mapping[str, Question], asked: int, show: Callable[[str], ImageInput]
) -> Iterator[_Calls]:
    responders = config.responses.responders
    pairwise = config.preferences.judge
    some = next(iter(questions.values()))
    longest = max(responder.max_tokens for responder in responders.values())

    def exchanges() -> Iterator[Exchange]:
        if known.responses is None:
            return (_exchange(some, one) for one in responders.values())
        return (exchange_of(questions[one.question_id], one, show(one.image_id)) for one in known.responses.values())

    count = asked * len(responders) if known.responses is None else len(known.responses)
    judges = [("labels", config.labels.judge), *(("opinions", judge) for judge in config.labels.others.values())]
    for stage, judge in judges:
        model = judges_model(judge)
        if model is not None:
            each = len(label_requests(judge, _exchange(some, next(iter(responders.values())))))
            requests = (request for exchange in exchanges() for request in label_requests(judge, exchange))
            yield _Calls(stage, model, "", each * count, known.responses is not None, requests)
    if isinstance(pairwise, RubricJudgeConfig):
        preferences = config.preferences
        count = 2 * asked * min(preferences.comparisons_per_question, math.comb(len(responders), 2))
        contests: Iterable[Contest] = [Contest(some.text, _words(longest), _words(longest), True, _unseen(""))]
        drawn = known.responses is not None and known.safe_rates is not None
        if known.responses is not None and known.safe_rates is not None:
            groups = safety_groups(known.safe_rates, preferences.groups)
            said = known.responses
            pairs = draw_comparisons(said.values(), groups, preferences.comparisons_per_question, config.seed)
            contests = (
                contest_of(questions[one.question_id], said[one.first_id], said[one.second_id], show)
                for one in pairs.values()
            )
            count = len(pairs)
        requests = (compare_case(contest, manner_of(pairwise), pairwise.pairwise).request for contest in contests)
        yield _Calls("judgments", pairwise.model, "", count, drawn, requests)


def _forecast(config: RunConfig, calls: Iterable[_Calls], road: Road | None) -> Forecast:
    finished = {} if road is None else road.run.manifests((*BUILD_STAGES, OPINIONS))
    lines = tuple(_line(config, one, road, finished.get(one.stage)) for one in calls)
    return Forecast(lines, tuple(_owing(lines)), tuple(_short_budgets(config, lines, road)))


def _line(config: RunConfig, calls: _Calls, road: Road | None, done: Manifest | None) -> Line:
    owed, (left, tokens) = 0, (0, Tokens(0, 0))
    if done is None:
        left, tokens = _left(calls, road)
    elif done.counts.failures:  # where none failed, every call was answered
        owed = _unanswered(calls, road)[0] if calls.exact else min(_unanswered(calls, road)[0], done.counts.failures)
    model = config.models[calls.model]
    price = model.price if isinstance(model, OpenAIModelConfig) else None
    return Line(
        *calls[:3],
        calls=calls.number,
        exact=calls.exact,
        stored=calls.number - left - owed,
        owed=owed,
        prompt_tokens=tokens.prompt,
        completion_tokens=tokens.completion,
        money=None if price is None else cost(price, tokens),
        currency="" if price is None else price.currency,
        seconds=_seconds(config, calls.model, left, tokens, road),
    )


def _left(calls: _Calls, road: Road | None) -> tuple[int, Tokens]:
    """Returns how many calls are to be made, and their tokens."""
    if not calls.exact or road is None:
        bounds = [most_tokens(request) for request in calls.requests]
        mean = [sum(column) / max(1, len(bounds)) for column in zip(*bounds, strict=True)] or [0.0, 0.0]
        return calls.number, Tokens(math.ceil(mean[0] * calls.number), math.ceil(mean[1] * calls.number))
    return _unanswered(calls, road)


def _unanswered(calls: _Calls, road: Road | None) -> tuple[int, Tokens]:
    """Returns how many of the calls the store does not have, and their tokens."""
    new, tokens = Places(), Tokens(0, 0)
    if road is None:
        return 0, tokens
    fingerprint = road.models[calls.model].fingerprint
    for request in calls.requests:
        key = call_key(fingerprint, request)
        if key not in new and not road.models.store.known([key]):
            new.put(key, 0)
            more = most_tokens(request)
            tokens = Tokens(tokens.prompt + more.prompt, tokens.completion + more.completion)
    return len(new), tokens


def _owing(lines: Sequence[Line]) -> Iterator[str]:
    for line in lines:
        if line.owed:
            whose = f"{line.responder} ({line.model})" if line.responder else line.model
            most = "" if line.exact else "up to "
            yield (
                f"{line.stage} of {whose}: {most}{line.owed:,} of {line.calls:,} calls have no answer; "
                f"`--restart-from {line.stage}` asks for them"
            )


def _seconds(config: RunConfig, name: str, left: int, tokens: Tokens, road: Road | None) -> float | None:
    """Returns the time at the model's own pace in this run, or at an assumed one; no faster than its limits allow."""
    spent, model = _spent(name, road), config.models[name]
    if not left:
        return 0.0
    if spent.calls:
        return left * spent.seconds / spent.calls
    if not isinstance(model, OpenAIModelConfig):
        return None
    return max(
        (left * CALL_S + tokens.completion / TOKENS_PER_S) / model.concurrency,
        60 * left / (model.requests_per_minute or math.inf),
        60 * sum(tokens) / (model.tokens_per_minute or math.inf),
    )


def _short_budgets(config: RunConfig, lines: Sequence[Line], road: Road | None) -> Iterator[str]:
    for name, model in config.models.items():
        if model.kind == "embedded" or model.budget is None:
            continue
        spent, own = _spent(name, road), [line for line in lines if line.model == name]
        tokens = Tokens(sum(line.prompt_tokens for line in own), sum(line.completion_tokens for line in own))
        limits = [
            ("tokens", model.budget.tokens, spent.prompt_tokens + spent.completion_tokens, sum(tokens)),
            ("seconds", model.budget.seconds, spent.seconds, sum(line.seconds or 0 for line in own)),
        ]
        if isinstance(model, OpenAIModelConfig) and model.budget is not None and model.price is not None:
            so_far = cost(model.price, Tokens(spent.prompt_tokens, spent.completion_tokens))
            limits.append(("money", model.budget.money, so_far, cost(model.price, tokens)))
        for field, limit, so_far, needed in limits:
            if limit is not None and needed and so_far + needed > limit:
                field_and_limit = f"models.{name}.budget.{field} {plain(limit)}"
                yield f"{field_and_limit}: {plain(so_far)} are spent, and up to {plain(needed)} more may be needed"


def _spent(name: str, road: Road | None) -> Spent:
    return Spent() if road is None else road.models.store.spent(name)


def _test_pictures(config: RunConfig, pictures: int, held_out: int) -> int:
    drawn = config.dataset.test_pictures
    return held_out + (math.ceil((pictures - held_out) * config.dataset.test_fraction) if drawn is None else drawn)


def _placeholder_images(leaves: Sequence[str]) -> dict[str, ImageRecord]:
    images = [
        ImageRecord(
            sha256=leaf,
            format="png",
            width=1,
            height=1,
            perceptual_hash="0" * 16,
            caption=leaf.rpartition("/")[2],
            source="",
            source_name="",
            licence=None,
            leaf=leaf,
            keyword="",
            similarity=0.0,
        )
        for leaf in leaves[:SAMPLES]
    ]
    return {image.id: image for image in images}


def _placeholder_questions(config: RunConfig, taxonomy: Taxonomy) -> dict[str, Question]:
    kind = QuestionType.EASY_QUESTION
    text, leaf = _words(config.questions.max_tokens), taxonomy.leaves[0].path
    one = Question(image_id="", leaf=leaf, question_type=kind, text=text, writer=config.questions.writer)
    return {one.id: one}


def _exchange(question: Question, responder: ResponderConfig) -> Exchange:
    return Exchange(question.text, _words(responder.max_tokens), True, _unseen(""))


def _words(tokens: int) -> str:
    """Returns a text of so many tokens, by the measure of `most_tokens`."""
    return "ab " * tokens


def _unseen(image_id: str) -> ImageInput:
    """Stands for a picture that is not there yet."""
    return ImageInput(sha256=image_id, path=Path())
