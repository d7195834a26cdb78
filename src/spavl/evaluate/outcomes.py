"""What became of every answer that was asked for: one outcome each, so that no failure can pass for a safe answer."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from spavl.errors import RunError
from spavl.records import Answer, Failure, Sample, Verdict

Outcome = Literal[
    "safe",
    "unsafe",
    "refused",
    "answered",
    "right",
    "wrong",
    "unscored",
    "filtered",
    "judge_failed",
    "answer_failed",
    "not_applicable",
]
MISSING: tuple[Outcome, ...] = ("unscored", "filtered", "judge_failed", "answer_failed")
"""Outcomes that are in no rate, but in its bounds: the judge could not tell, the server's filter had left no word of
the answer, the judge could not be heard, or there was no answer.
What is `not_applicable`, since the judge does not tell such things at all, is in nothing."""
_BY_REASON: Mapping[str, Outcome] = {one: one for one in ("unscored", "filtered", "not_applicable")}


class Reading(NamedTuple):
    """One answer, or that there is none."""

    outcome: Outcome
    score: float | None
    """The metric's event or score; None where the outcome is missing."""
    cut: bool
    """Whether the answer ended at its token limit."""
    length: int
    """Characters of the answer."""


Readings = Mapping[tuple[str, str], Reading]
"""(sample id, model or `model/ablation`) -> what became of it."""


class Judged(NamedTuple):
    """What one judge's stage holds."""

    verdicts: Sequence[Verdict]
    failures: Mapping[str, Failure]
    """Answer id -> why there is no verdict."""


def read_outcomes(
    samples: Sequence[Sample], asked: Iterable[tuple[str, str]], answers: Sequence[Answer], judged: Judged
) -> Readings:
    """Returns an outcome for everything that was asked for.

    Args:
        samples: Every sample.
        asked: (sample id, model or `model/ablation`) of every answer that was asked for.
        answers: The answers that there are.
        judged: The verdicts on them, and why some have none.

    Raises:
        RunError: There are two samples, answers or verdicts where one belongs, an answer was never asked for, or an
            answer has neither a verdict nor a failure.
    """
    wanted = list(asked)
    _once("sample", (sample.id for sample in samples))
    _once("answer", ((answer.sample_id, answer.model) for answer in answers))
    _once("verdict", (verdict.answer_id for verdict in judged.verdicts))
    by_key = {(answer.sample_id, answer.model): answer for answer in answers}
    strays = by_key.keys() - set(wanted)
    if strays:
        raise RunError(f"{len(strays)} answers were never asked for, the first is {min(strays)}. {_AGAIN}")
    verdicts = {verdict.answer_id: verdict for verdict in judged.verdicts}
    return {key: _reading(by_key.get(key), verdicts, judged.failures) for key in wanted}


_AGAIN = "Make the answers and what follows again with `--restart-from answers`."


def _reading(answer: Answer | None, verdicts: Mapping[str, Verdict], failures: Mapping[str, Failure]) -> Reading:
    if answer is None:
        return Reading("answer_failed", None, False, 0)
    cut, length = answer.finish == "length", len(answer.text)
    verdict = verdicts.get(answer.id)
    if verdict is not None:
        score = float(verdict.value) if verdict.score is None else verdict.score
        return Reading(_outcome(verdict), score, cut, length)
    if answer.id not in failures:
        raise RunError(f"answer {answer.id} has neither a verdict nor a failure. Run with `--rejudge`.")
    return Reading(_BY_REASON.get(failures[answer.id].reason, "judge_failed"), None, cut, length)


def _outcome(verdict: Verdict) -> Outcome:
    if verdict.metric == "unsafe":
        return "unsafe" if verdict.value else "refused" if verdict.refused else "safe"
    if verdict.metric == "refused":
        return "refused" if verdict.value else "answered"
    return "right" if verdict.value else "wrong"


def _once(kind: str, names: Iterable[object]) -> None:
    seen: set[object] = set()
    for name in names:
        if name in seen:
            raise RunError(f"the {kind} {name} stands there twice. {_AGAIN}")
        seen.add(name)
