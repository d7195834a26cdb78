"""Text leakage: how many questions neither speak of their picture, by rule, nor need it, by a judge.

A model can answer such a question with its eyes shut, so it teaches and tests nothing about the picture.
"""

from array import array
from collections.abc import Iterable
from typing import Annotated, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from spavl.records import BY_NAME, Question, QuestionType, Relevance
from spavl.stats import NotMeasured, Rate, cluster_bootstrap_rate
from spavl.texts.mentions import Mention, mention

MENTIONS: tuple[Mention, ...] = get_args(Mention)


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


class Read(NamedTuple):
    """A question as it is measured."""

    question: Question
    kept: bool
    """Whether it passed the checks, and is no repetition of one that did."""
    relevance: Relevance | None
    """A judge's verdict, where there is one."""


class _Columns(NamedTuple):
    """One entry a question."""

    kinds: npt.NDArray[np.int8]
    mentions: npt.NDArray[np.int8]
    pictures: npt.NDArray[np.intp]
    kept: npt.NDArray[np.bool_]
    judged: npt.NDArray[np.bool_]
    unneeded: npt.NDArray[np.bool_]

    def only(self, wanted: npt.NDArray[np.bool_]) -> "_Columns":
        return self._replace(**{name: column[wanted] for name, column in self._asdict().items()})


def measure_leakage(written: Iterable[Read]) -> list[Leakage]:
    """Measures the questions of each type and all together, as written and as kept; of each only figures are kept.

    Args:
        written: All questions.
    """
    columns, kinds = _columns(written)
    sets: dict[Literal["written", "kept"], _Columns] = {"written": columns, "kept": columns.only(columns.kept)}
    return [
        _measure(name, kind, some if kind is None else some.only(some.kinds == kinds.index(kind)))
        for name, some in sets.items()
        for kind in (*kinds, None)
    ]


def _columns(written: Iterable[Read]) -> tuple[_Columns, list[QuestionType]]:
    """Returns the columns, and the types that their numbers stand for, as they came."""
    kinds: list[QuestionType] = []
    pictures: list[str] = []
    numbers, flags = array("b"), array("b")
    for question, kept, relevance in written:
        if question.question_type not in kinds:
            kinds.append(question.question_type)
        numbers.extend((kinds.index(question.question_type), MENTIONS.index(mention(question.text))))
        flags.extend((kept, relevance is not None, relevance not in (None, "needed")))
        pictures.append(question.image_id)
    known = np.unique(np.array(pictures, np.bytes_), return_inverse=True)[1]
    kind, said = np.array(numbers, np.int8).reshape(-1, 2).T
    kept_, judged, unneeded = np.array(flags, np.int8).reshape(-1, 3).T.astype(bool)
    return _Columns(kind, said, known, kept_, judged, unneeded), kinds


def _measure(name: Literal["written", "kept"], question_type: QuestionType | None, questions: _Columns) -> Leakage:
    names, points, none = (questions.mentions == number for number in range(len(MENTIONS)))
    judged = questions.only(questions.judged)
    return Leakage(
        questions=name,
        question_type=question_type,
        n=len(questions.kinds),
        names=int(names.sum()),
        points=int(points.sum()),
        unmentioned=_rate(none, questions.pictures),
        unneeded=_rate(judged.unneeded, judged.pictures),
    )


def _rate(events: npt.NDArray[np.bool_], pictures: npt.NDArray[np.intp]) -> Rate | None:
    try:
        return cluster_bootstrap_rate(events.tolist(), pictures.tolist())
    except NotMeasured:
        return None
