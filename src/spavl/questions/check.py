"""The checked questions: which of those that were written go on, and what text leakage there is.

A question that says the same of the same picture as an earlier one is left out always, near-duplicates and what judges
find as the configuration says. Cheap checks come first, and relevance last: what passes all others has its verdict, so
text leakage is measured on questions that differ from the dataset's in nothing else.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from spavl.config import ChecksConfig
from spavl.errors import RunError
from spavl.execution import map_items
from spavl.judges.question_rubric import HARMFULNESS, RELEVANCE, Asked, QuestionRubric, Ruled, judge_questions
from spavl.models.ask import check_reached, outcome
from spavl.models.base import ImageInput
from spavl.models.call_store import StoredModel
from spavl.models.replay import NOT_STORED
from spavl.question_config import NearDuplicatesConfig
from spavl.questions.leakage import measure_leakage
from spavl.records import Failure, Harmfulness, Question, QuestionCheck, QuestionType, Relevance
from spavl.store import Manifest, Outcome, StageDirectory, Usage
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
    max_tokens: int
    fault: Callable[[Question, Any], str | None]
    """Says why a verdict leaves a question out, or None."""


async def check_questions(
    config: ChecksConfig,
    taxonomy: Taxonomy,
    questions: Sequence[Question],
    show: Callable[[str], ImageInput],
    open_model: Callable[[str], StoredModel],
    stage: StageDirectory,
) -> Manifest:
    """Runs the station: one item per written question.

    Raises:
        UserError: Near-duplicates are to be found, and datasketch is not installed.
        RunError: A judge's model was out of reach too often, or no question is left.
    """
    items = _named(questions)
    repeats = _repeats(config.near_duplicates, items)
    stage.append([Outcome(item, failure=repeats[item]) for item in stage.pending(repeats)])
    checks = _checks(config, open_model)

    def case(question: Question) -> Asked:
        leaf = taxonomy.leaf(question.leaf)
        return Asked(question.text, f"{leaf.name} ({leaf.category})", show(question.image_id))

    async def work(group: Sequence[tuple[str, Question]]) -> tuple[list[Outcome], Usage]:
        asked = dict(group)
        found: dict[str, dict[str, Any]] = {item: {} for item in asked}
        failed: dict[str, Failure] = {}
        for check in checks:
            waiting = [item for item in asked if item not in failed]
            cases = [case(asked[item]) for item in waiting]
            rulings = await judge_questions(check.rubric, check.model, check.max_tokens, cases)
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
        [(item, question) for item, question in items if item not in repeats],
        work,
        label="checked questions",
        group_size=min((check.model.group_size for check in checks), default=RULES_AT_ONCE),
        concurrency=min((check.model.concurrency for check in checks), default=1),
    )
    check_reached(stage, len(items))
    return stage.finish([item for item, _ in items], {"leakage": _leakage(items, stage)})


def kept_questions(questions: Sequence[Question], checks: Sequence[QuestionCheck]) -> list[Question]:
    """Returns the questions that passed, each once, in order."""
    passed = {check.question_id for check in checks}
    return [question for id_, question in {one.id: one for one in questions}.items() if id_ in passed]


def _named(questions: Sequence[Question]) -> list[tuple[str, Question]]:
    """Returns (item, question): the item is the question's id, with a number where the same was written before."""
    times: dict[str, int] = {}
    items = []
    for question in questions:
        times[question.id] = number = times.get(question.id, 0) + 1
        items.append((question.id if number == 1 else f"{question.id}/{number}", question))
    return items


def _repeats(config: NearDuplicatesConfig | None, items: Sequence[tuple[str, Question]]) -> dict[str, Failure]:
    """Returns item -> why it is left out, for those that say what an earlier one says."""
    repeats = {
        item: Failure(reason="duplicate", message=f"{question.id} is the same question", dropped=True)
        for item, question in items
        if item != question.id
    }
    if config is None:
        return repeats
    sets: dict[str, list[Question]] = {}
    for item, question in items:
        if item not in repeats:
            sets.setdefault(question.leaf if config.within == "leaf" else "", []).append(question)
    for members in sets.values():
        for place, first in near_duplicates([one.text for one in members], config.jaccard).items():
            message = f"it says nearly what {members[first].id} says"
            repeats[members[place].id] = Failure(reason="near_duplicate", message=message, dropped=True)
    return repeats


def _checks(config: ChecksConfig, open_model: Callable[[str], StoredModel]) -> list[_Check]:
    checks = []
    if (one := config.harmfulness) is not None:
        checks.append(_Check("harmfulness", HARMFULNESS, open_model(one.model), one.max_tokens, _wrong_harm))
    if (one := config.relevance) is not None:
        fault = _not_needed if one.require == "needed" else _unrelated
        checks.append(_Check("relevance", RELEVANCE, open_model(one.model), one.max_tokens, fault))
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


def _leakage(items: Sequence[tuple[str, Question]], stage: StageDirectory) -> list[dict[str, Any]]:
    checks, failures = stage.records(QuestionCheck), stage.failures()
    written = [question for _, question in items]
    kept = kept_questions(written, checks)
    if items and not kept:
        reasons = sorted({failure.reason for failure in failures.values()})
        raise RunError(
            f"Stage {stage.name}: none of {len(items)} questions passed the checks ({', '.join(reasons)}); read the "
            f"judge's reasons in {stage.results_path}, loosen `checks`, and run again with "
            f"`--restart-from {stage.name}`."
        )
    verdicts: dict[str, Relevance] = {
        item: LEFT_OUT_BY_RELEVANCE[failure.reason]
        for item, failure in failures.items()
        if failure.reason in LEFT_OUT_BY_RELEVANCE
    }
    verdicts |= {check.question_id: check.relevance for check in checks if check.relevance is not None}
    measured = measure_leakage(written, kept, verdicts)
    return [one.model_dump(mode="json") for one in measured]
