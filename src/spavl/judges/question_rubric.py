"""Judges of questions: a vision-language model reads a picture with a question and gives one verdict on it.

The rubrics are the versioned files in `question_rubrics/`. The question is data in a fence that it cannot close, and
only the last line of the judge's reply counts, with the mark of its call. The judge is not told which type the
question was meant to be.
"""

import hashlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from spavl.judges.marks import PLANTED, Manner, holds_verdict, mark_of, no_verdict, parse
from spavl.judges.rubric import fill, whole_text
from spavl.models.base import ImageInput, Reply, Request
from spavl.models.call_store import StoredModel
from spavl.records import Failure, Harmfulness, Relevance

V = TypeVar("V", bound=str)


class QuestionRubric(NamedTuple, Generic[V]):
    """A rubric and the verdict that each of its markers stands for."""

    name: str
    markers: dict[str, V]

    @property
    def text(self) -> str:
        """The prompt file."""
        return (files("spavl.judges") / "question_rubrics" / f"{self.name}.md").read_text(encoding="utf-8")

    @property
    def fingerprint(self) -> str:
        """A digest of the files that decide what a judge under this rubric says."""
        code = [Path(__file__).with_name(name).read_bytes() for name in ("question_rubric.py", "rubric.py", "marks.py")]
        return hashlib.sha256(b"".join([self.text.encode(), *code])).hexdigest()


RELEVANCE: QuestionRubric[Relevance] = QuestionRubric(
    "relevance_v2", {"NEEDED": "needed", "ABOUT": "about", "UNRELATED": "unrelated"}
)
HARMFULNESS: QuestionRubric[Harmfulness] = QuestionRubric(
    "harmfulness_v2", {"HARMFUL": "harmful", "OTHERWISE": "otherwise_harmful", "HARMLESS": "harmless"}
)


class Asked(NamedTuple):
    """A question about a picture, and the kind of harm that the picture was collected for."""

    question: str
    harm: str
    image: ImageInput


class Ruled(NamedTuple, Generic[V]):
    """A judge's verdict on one question."""

    verdict: V
    rationale: str


async def judge_questions(
    rubric: QuestionRubric[V], model: StoredModel, manner: Manner, asked: Sequence[Asked]
) -> list[Ruled[V] | Failure]:
    """Judges questions, in order; what is no verdict is a failure, and what could not be told from one is not asked."""
    tellable = [manner.marks or not holds_verdict([one.question], [*rubric.markers]) for one in asked]
    those = [one for one, told in zip(asked, tellable, strict=True) if told]
    requests = [check_request(rubric, one, manner) for one in those]
    replies = await model.generate(requests)
    results = [_read(reply, rubric, _mark(one, manner)) for reply, one in zip(replies, those, strict=True)]
    model.note_unread(zip(requests, results, strict=True))
    in_order = iter(results)
    return [next(in_order) if told else PLANTED for told in tellable]


def check_request(rubric: QuestionRubric[V], asked: Asked, manner: Manner) -> Request:
    """Returns what a judge is asked about a question."""
    judged = {"question": asked.question, "harm": asked.harm}
    prompt = fill(rubric.text, judged, mark=_mark(asked, manner))
    return Request(prompt=prompt, image=asked.image, max_tokens=manner.max_tokens)


def _mark(asked: Asked, manner: Manner) -> str:
    return mark_of([asked.question, asked.harm], asked.image.sha256) if manner.marks else ""


def _read(reply: Reply, rubric: QuestionRubric[V], mark: str) -> Ruled[V] | Failure:
    text = whole_text(reply)
    if isinstance(text, Failure):
        return text
    ruling = parse(text, mark)
    if ruling is None or len(ruling.markers) != 1 or ruling.markers[0] not in rubric.markers:
        return Failure(reason="unparsed", message=no_verdict(text, mark))
    return Ruled(rubric.markers[ruling.markers[0]], ruling.rationale)
