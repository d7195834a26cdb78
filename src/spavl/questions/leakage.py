"""Text leakage: how many questions neither speak of their picture, by rule, nor need it, by a judge.

A model can answer such a question with its eyes shut, so it teaches and tests nothing about the picture.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict

from spavl.records import BY_NAME, Question, QuestionType, Relevance
from spavl.stats import NotMeasured, Rate, cluster_bootstrap_rate
from spavl.texts.mentions import mention


class Leakage(BaseModel):
    """What was measured on the questions of one type; intervals draw whole pictures."""

    model_config = ConfigDict(frozen=True)

    questions: Literal["written", "kept"]
    """All that were written, or those that passed the checks."""
    question_type: QuestionType | None
    """None for all types together."""
    n: int
    names: int
    """Questions that speak of the picture, or of what is shown."""
    points: int
    """Others that say "this ..." of something."""
    unmentioned: Annotated[Rate, BY_NAME] | None
    """Share of the rest, which do neither."""
    unneeded: Annotated[Rate, BY_NAME] | None
    """Share, of those with a verdict, that could be understood without the picture or are not about it."""


def measure_leakage(
    written: Sequence[Question], kept: Sequence[Question], verdicts: Mapping[str, Relevance]
) -> list[Leakage]:
    """Measures the questions of each type and all together, as written and as kept.

    Args:
        written: All questions.
        kept: Those that passed the checks.
        verdicts: Question id -> a judge's verdict, where there is one.
    """
    sets: dict[Literal["written", "kept"], Sequence[Question]] = {"written": written, "kept": kept}
    return [
        _measure(name, question_type, [one for one in some if question_type in (None, one.question_type)], verdicts)
        for name, some in sets.items()
        for question_type in (*dict.fromkeys(one.question_type for one in written), None)
    ]


def _measure(
    name: Literal["written", "kept"],
    question_type: QuestionType | None,
    questions: Sequence[Question],
    verdicts: Mapping[str, Relevance],
) -> Leakage:
    mentions = [mention(one.text) for one in questions]
    judged = [one for one in questions if one.id in verdicts]
    return Leakage(
        questions=name,
        question_type=question_type,
        n=len(questions),
        names=mentions.count("names"),
        points=mentions.count("points"),
        unmentioned=_rate([one == "none" for one in mentions], questions),
        unneeded=_rate([verdicts[one.id] != "needed" for one in judged], judged),
    )


def _rate(events: Sequence[bool], questions: Sequence[Question]) -> Rate | None:
    try:
        return cluster_bootstrap_rate(events, [one.image_id for one in questions])
    except NotMeasured:
        return None
