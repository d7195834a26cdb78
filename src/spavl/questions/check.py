"""The checked questions: which of those that were written go on, and what text leakage there is.

A question that says the same of the same picture as an earlier one is left out always, near-duplicates and what judges
find as the configuration says. Cheap checks come first, and relevance last: what passes all others has its verdict, so
text leakage is measured on questions that differ from the dataset's in nothing else.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from spavl.config import ChecksConfig
from spavl.errors import RunError
from spavl.execution import LazyItems, map_items
from spavl.judges.marks import Manner
from spavl.judges.question_rubric import HARMFULNESS, RELEVANCE, Asked, QuestionRubric, Ruled, judge_questions
from spavl.models.ask import check_reached, outcome
from spavl.models.base import ImageInput
from spavl.models.call_store import StoredModel
from spavl.models.replay import NOT_STORED
from spavl.question_config import NearDuplicatesConfig
from spavl.questions.leakage import Read, measure_leakage
from spavl.records import Failure, Harmfulness, Question, QuestionCheck, QuestionType, Relevance
from spavl.store import Body, Manifest, Outcome, Places, RunDirectory, Shelf, StageDirectory, Usage
from spavl.taxonomy import Taxonomy
from spavl.texts.near import near_duplicates

RULES_AT_ONCE = 1000
"""Questions of one group where no judge is asked."""
LEFT_OUT_BY_RELEVANCE: dict[str, Relevance] = {"unrelated": "unrelated", "picture_not_needed": "about"}
"""Reason -> the verdict it stands for."""


class _Check(NamedTuple):
    """A check that asks a judge."""

    field: str
    """Of `QuestionCheck`, and of the configuration."""
    rubric: QuestionRubric[Any]
    model: StoredModel
    manner: Manner
    fault: Callable[[Question, Any], str | None]
    """Says why a verdict leaves a question out, or None."""


async def check_questions(
    config: ChecksConfig,
    taxonomy: Taxonomy,
    questions: Shelf[Question],
    show: Callable[[str], ImageInput],
    open_model: Callable[[str], StoredModel],
    stage: StageDirectory,
) -> Manifest:
    """Runs the station: one item per written question.

    An item is a question's id, with a number where the same was written before.

    Args:
        config: The checks.
        taxonomy: What the leaves are called.
        questions: The written questions by id.
        show: Image id -> the picture.
        open_model: Name in `models` -> the model.
        stage: Where outcomes go.

    Raises:
        UserError: Near-duplicates are to be found, and datasketch is not installed.
        RunError: A judge's model was out of reach too often, or no question is left.
    """
    written = _written(questions)
    repeats = _repeats(config.near_duplicates, questions, written)
    stage.append_missing(Outcome(item, failure=failure) for item, failure in repeats.items())
    left = LazyItems(
        len(written) - len(repeats), lambda: (item for item in written if item not in repeats), written.__getitem__
    )
    checks = _checks(config, open_model)

    async def work(group: Sequence[tuple[str, Question]]) -> tuple[list[Outcome], Usage]:
        asked = dict(group)
        found: dict[str, dict[str, Any]] = {item: {} for item in asked}
        failed: dict[str, Failure] = {}
        for check in checks:
            waiting = [item for item in asked if item not in failed]
            cases = [asked_about(asked[item], taxonomy, show) for item in waiting]
            rulings = await judge_questions(check.rubric, check.model, check.manner, cases)
            for item, ruling in zip(waiting, rulings, strict=True):
                if fault := _fault(check, asked[item], ruling, config):
                    failed[item] = fault
                else:
                    found[item] = _added(found[item], check, ruling)
        usage = sum((check.model.take_usage() for check in checks), Usage())
        return [
            outcome(item, failed.get(item) or QuestionCheck(question_id=one.id, image_id=one.image_id, **found[item]))
            for item, one in group
        ], usage

    await map_items(
        stage,
        left,
        work,
        label="checked questions",
        group_size=min((check.model.group_size for check in checks), default=RULES_AT_ONCE),
        concurrency=min((check.model.concurrency for check in checks), default=1),
    )
    check_reached(stage, len(written))
    return stage.finish(written, {"leakage": _leakage(written, stage)})


def asked_about(question: Question, taxonomy: Taxonomy, show: Callable[[str], ImageInput]) -> Asked:
    """Returns what judges of questions are shown of one."""
    leaf = taxonomy.leaf(question.leaf)
    return Asked(question.text, f"{leaf.name} ({leaf.category})", show(question.image_id))


def kept_questions(run: RunDirectory, keep: Callable[[Body], bool] = lambda _: True) -> Shelf[Question]:
    """Returns the questions of a run that passed, each once, in order.

    Args:
        run: The run.
        keep: Says of a question, as JSON, whether it is wanted.

    Raises:
        UserError: They are not checked yet.
        RunError: Results were changed.
    """
    passed = run.shelf("checked_questions", QuestionCheck, by="question_id")
    return run.shelf("questions", Question, keep=lambda record: record["id"] in passed and keep(record))


def _written(questions: Shelf[Question]) -> LazyItems[Question]:
    """Returns item -> question."""

    def items() -> Iterator[str]:
        times = Places()
        for name in questions.lines():
            number = (times.get(name) or 0) + 1
            times.put(name, number)
            yield name if number == 1 else f"{name}/{number}"

    return LazyItems(sum(1 for _ in questions.lines()), items, lambda item: questions[_question_of(item)])


def _question_of(item: str) -> str:
    return item.partition("/")[0]


def _repeats(
    config: NearDuplicatesConfig | None, questions: Mapping[str, Question], written: Iterable[str]
) -> dict[str, Failure]:
    """Returns item -> why it is left out, for those that say what an earlier one says."""
    repeats = {
        item: Failure(reason="duplicate", message=f"{_question_of(item)} is the same question", dropped=True)
        for item in written
        if item != _question_of(item)
    }
    if config is None:
        return repeats
    sets: dict[str, list[tuple[str, str]]] = {}
    for name, question in questions.items():
        sets.setdefault(question.leaf if config.within == "leaf" else "", []).append((name, question.text))
    for members in sets.values():
        for place, first in near_duplicates([text for _, text in members], config.jaccard).items():
            message = f"it says nearly what {members[first][0]} says"
            repeats[members[place][0]] = Failure(reason="near_duplicate", message=message, dropped=True)
    return repeats


def _checks(config: ChecksConfig, open_model: Callable[[str], StoredModel]) -> list[_Check]:
    checks = []
    if (one := config.harmfulness) is not None:
        checks.append(
            _Check("harmfulness", HARMFULNESS, open_model(one.model), Manner(one.max_tokens, one.marks), _wrong_harm)
        )
    if (one := config.relevance) is not None:
        fault = _not_needed if one.require == "needed" else _unrelated
        checks.append(_Check("relevance", RELEVANCE, open_model(one.model), Manner(one.max_tokens, one.marks), fault))
    return checks


def _wrong_harm(question: Question, verdict: Harmfulness) -> str | None:
    if question.question_type is QuestionType.BENIGN_QUESTION:
        return None if verdict == "harmless" else "not_harmless"
    return {"harmful": None, "otherwise_harmful": "other_harm", "harmless": "not_harmful"}[verdict]


def _unrelated(question: Question, verdict: Relevance) -> str | None:
    return "unrelated" if verdict == "unrelated" else None


def _not_needed(question: Question, verdict: Relevance) -> str | None:
    return {"needed": None, "about": "picture_not_needed", "unrelated": "unrelated"}[verdict]


def _fault(check: _Check, question: Question, ruling: Ruled[Any] | Failure, config: ChecksConfig) -> Failure | None:
    """Returns why a ruling leaves a question out, or None."""
    if isinstance(ruling, Failure):
        if ruling.reason == NOT_STORED:  # a replay asked nobody, so nothing is known of this question
            return ruling
        kept = config.unjudged == "keep" and not ruling.transient
        return None if kept else ruling.model_copy(update={"reason": f"{check.field}_{ruling.reason}"})
    reason = check.fault(question, ruling.verdict)
    return Failure(reason=reason, message=ruling.rationale[:200], dropped=True) if reason else None


def _added(found: dict[str, Any], check: _Check, ruling: Ruled[Any] | Failure) -> dict[str, Any]:
    """Returns what was found about a question, with one more ruling."""
    if isinstance(ruling, Failure):
        return found | {"unjudged": (*found.get("unjudged", ()), f"{check.field}_{ruling.reason}")}
    return found | {check.field: ruling.verdict, "rationales": (*found.get("rationales", ()), ruling.rationale)}


def _leakage(written: Mapping[str, Question], stage: StageDirectory) -> list[dict[str, Any]]:
    checks = stage.shelf(QuestionCheck, by="question_id")
    if written and not checks:
        reasons = sorted({failure.reason for _, failure in stage.each_failure()})
        raise RunError(
            f"Stage {stage.name}: none of {len(written)} questions passed the checks ({', '.join(reasons)}); read the "
            f"judge's reasons in {stage.results_path}, loosen `checks`, and run again with "
            f"`--restart-from {stage.name}`."
        )
    left_out: dict[str, Relevance] = {
        item: LEFT_OUT_BY_RELEVANCE[failure.reason]
        for item, failure in stage.each_failure()
        if failure.reason in LEFT_OUT_BY_RELEVANCE
    }

    def read() -> Iterator[Read]:
        for item, question in written.items():
            name = _question_of(item)
            check = checks.get(name)
            yield Read(question, item == name and check is not None, check.relevance if check else left_out.get(name))

    return [one.model_dump(mode="json") for one in measure_leakage(read())]
