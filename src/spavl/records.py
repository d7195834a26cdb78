"""The typed records that travel along the road, and the ids that tie them to what they were made from.

Every record is frozen and its id is a hash of the things it was made from, so lineage needs no table. Nothing here
reads a file or knows a station.
"""

import hashlib
import json
from collections.abc import Sequence
from enum import StrEnum
from functools import cached_property
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, PlainSerializer, computed_field

_encode = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str).encode


def content_id(prefix: str, *parts: object) -> str:
    """Returns `prefix-` and the first 16 hex digits of the SHA-256 of the canonical JSON of `parts`."""
    return f"{prefix}-{hashlib.sha256(_encode(parts).encode()).hexdigest()[:16]}"


def _named(value: object) -> object:
    """Returns a NamedTuple as JSON's objects, those inside of it too."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: _named(one) for name, one in value._asdict().items()}
    return value


BY_NAME = PlainSerializer(_named)
"""Writes a NamedTuple as an object with its fields' names, where pydantic would write a list."""


class QuestionType(StrEnum):
    """SPA-VL's three question types, and the benign contrast question that gives over-refusal a price."""

    EASY_QUESTION = "easy_question"
    HARD_QUESTION = "hard_question"
    HARD_STATEMENT = "hard_statement"
    BENIGN_QUESTION = "benign_question"

    @property
    def harmful(self) -> bool:
        """Whether a question of this type asks for something the model should decline."""
        return self is not QuestionType.BENIGN_QUESTION


Scalar = str | int | float | bool | None
"""A value of a table's cell that is kept as it is."""
Finish = Literal["stop", "length", "refusal", "content_filter"]
SafetyVerdict = Literal["safe", "unsafe"]
OrderVerdict = Literal["first", "second", "tie"]
Expectation = Literal["refuse", "comply", "name", "choose", "answer"]
"""What a good answer to a benchmark's sample does: declines, helps, names the picture, picks the right choice, or gives
a reference answer."""
Relevance = Literal["needed", "about", "unrelated"]
"""Whether a question cannot be understood without its picture, could be though it is about it, or is not about it."""
Harmfulness = Literal["harmful", "otherwise_harmful", "harmless"]
"""Whether a question asks for harm of its leaf's kind, for other harm, or for none."""


class Record(BaseModel):
    """A frozen, strict value; `id` is derived from the fields named in `made_from`."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="constants")
    prefix: ClassVar[str]
    made_from: ClassVar[tuple[str, ...]]

    @computed_field  # type: ignore[prop-decorator]  # pydantic's documented pattern; mypy cannot see through it
    @cached_property
    def id(self) -> str:
        """The content id: the same ingredients give the same id on every machine."""
        return content_id(self.prefix, *(getattr(self, name) for name in self.made_from))


class ImageRecord(Record):
    """A picture that was collected for one leaf of the taxonomy."""

    prefix: ClassVar[str] = "img"
    made_from: ClassVar[tuple[str, ...]] = ("sha256",)

    sha256: str
    """SHA-256 of the stored file; the file lies in the run's image store under this name."""
    format: str
    """File suffix without the dot, `png` or `jpg`."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    perceptual_hash: str
    """64 bits of the low frequencies, 16 hex digits."""
    caption: str
    source: str
    """Name of the collection the picture came from."""
    source_name: str
    """File name or URL inside that collection."""
    licence: str | None
    """None where nobody says."""
    leaf: str
    """`domain/category/subcategory`, the taxonomy's exact labels."""
    keyword: str
    """The leaf's search keyword nearest to the caption."""
    similarity: float
    """Cosine similarity of keyword and caption, from -1 to 1."""
    url: str | None = None
    """Where it was downloaded from."""
    size: int | None = None
    """Bytes of the original file; None in runs of before it was kept, as are its digests."""
    md5: str | None = None
    """MD5 of the original file, which other collections list their pictures by."""
    original_sha256: str | None = None
    """SHA-256 of the original file."""
    source_similarity: float | None = None
    """How alike picture and caption are, as the source says."""
    columns: dict[str, Scalar] = {}
    """What else the source says, as far as the configuration asks for it."""
    caption_similarity: float | None = None
    """Cosine similarity of picture and caption, by `images.caption_match`; None, as what follows, where not asked."""
    text_count: int | None = None
    """Lines of text that were read in the picture."""
    text_chars: int | None = None
    """Characters of these lines, spaces left out."""
    explicit_score: float | None = None
    """How probably it is explicit, from 0 to 1, by `images.explicit`."""


class Caption(Record):
    """What a model says that a picture shows; the source's own caption stays in the `ImageRecord`."""

    prefix: ClassVar[str] = "cap"
    made_from: ClassVar[tuple[str, ...]] = ("image_id", "writer", "text")

    image_id: str
    leaf: str
    text: str
    writer: str
    """Name of the model entry that wrote it."""


class Question(Record):
    """A question or statement about one picture, for one leaf, written by a model."""

    prefix: ClassVar[str] = "que"
    made_from: ClassVar[tuple[str, ...]] = ("image_id", "question_type", "text", "writer")

    image_id: str
    leaf: str
    question_type: QuestionType
    text: str
    writer: str
    """Name of the model entry that wrote it."""
    refusals: int = 0
    """How often the writer declined before it wrote this."""


class QuestionCheck(Record):
    """A question that passed its checks, and what they found; what did not pass is a `Failure`."""

    prefix: ClassVar[str] = "chk"
    made_from: ClassVar[tuple[str, ...]] = ("question_id", "relevance", "harmfulness", "unjudged")

    question_id: str
    image_id: str
    relevance: Relevance | None = None
    """None where no judge was asked, or `unjudged` says why there is no verdict."""
    harmfulness: Harmfulness | None = None
    """The same."""
    unjudged: tuple[str, ...] = ()
    """Checks that gave no verdict and why, such as `relevance_unparsed`; the question was kept all the same."""
    rationales: tuple[str, ...] = ()


class Response(Record):
    """One responder's answer to one question; a refusal is a response like any other."""

    prefix: ClassVar[str] = "res"
    made_from: ClassVar[tuple[str, ...]] = ("question_id", "responder", "text")

    question_id: str
    image_id: str
    responder: str
    """Name of the model entry that answered."""
    text: str
    finish: Finish


class SafetyLabel(Record):
    """One judge's opinion whether a response is safe."""

    prefix: ClassVar[str] = "lab"
    made_from: ClassVar[tuple[str, ...]] = ("response_id", "judge")

    response_id: str
    judge: str
    verdict: SafetyVerdict
    refused: bool | None
    """Whether the response declines the request; None where the judge does not say."""
    rationale: str


class Comparison(Record):
    """Two responses to one question in one order, waiting for a judge."""

    prefix: ClassVar[str] = "cmp"
    made_from: ClassVar[tuple[str, ...]] = ("question_id", "first_id", "second_id")

    question_id: str
    first_id: str
    second_id: str

    @property
    def pair_key(self) -> tuple[str, str]:
        """The same for both orders of the same two responses."""
        low, high = sorted((self.first_id, self.second_id))
        return low, high


class Judgment(Record):
    """One judge's verdict on one comparison."""

    prefix: ClassVar[str] = "jud"
    made_from: ClassVar[tuple[str, ...]] = ("comparison_id", "judge")

    comparison_id: str
    question_id: str
    first_id: str
    second_id: str
    judge: str
    verdict: OrderVerdict
    rationale: str
    strength: float | None = None
    """How much better the winner is, in the judge's own unit; None for a tie, and where the judge does not say."""

    @property
    def winner_id(self) -> str | None:
        """The response that won, or None for a tie."""
        return {"first": self.first_id, "second": self.second_id, "tie": None}[self.verdict]


class PreferencePair(Record):
    """A question about a picture with the preferred and the other response, and everything its users ask for."""

    prefix: ClassVar[str] = "pair"
    made_from: ClassVar[tuple[str, ...]] = ("question_id", "chosen_id", "rejected_id", "judgment_ids")

    question_id: str
    image_id: str
    leaf: str
    question_type: QuestionType | None
    """None where the data does not say."""
    question: str
    chosen_id: str
    rejected_id: str
    chosen: str
    rejected: str
    chosen_responder: str
    rejected_responder: str
    chosen_verdict: SafetyVerdict | None
    """None where nobody has judged it."""
    rejected_verdict: SafetyVerdict | None
    chosen_finish: Finish = "stop"
    """`length` says that the answer was cut by its token limit, so its end is none to learn from."""
    rejected_finish: Finish = "stop"
    judge: str
    judgment_ids: tuple[str, ...]
    """The two judgments, one for each order, that agree."""
    rationales: tuple[str, ...]
    strength: float | None = None
    """How much better the chosen response is, where whoever judged says so, in a unit of its own: the mean of both
    orders."""
    licence: str | None = None
    """Of the data that it was read from; None where nobody says. A pair made here has its picture's `ImageRecord`."""
    read_from: str = ""
    """Where it stands in the data it was read from, in words for a person; empty if it was made here."""

    @property
    def name(self) -> str:
        """What a person finds it by."""
        return self.read_from or f"pair {self.id}"


class Sample(Record):
    """One prompt of a benchmark."""

    prefix: ClassVar[str] = "smp"
    made_from: ClassVar[tuple[str, ...]] = ("benchmark", "image_id", "prompt", "leaf")

    benchmark: str
    image_id: str
    """Also the unit of sampling: intervals are clustered by it where a picture has several samples. Empty where there
    is no picture."""
    prompt: str
    leaf: str = ""
    expect: Expectation
    references: tuple[str, ...] = ()
    """Accepted answers, where `expect` is `name` or `answer`; the right choice's letter, where it is `choose`."""
    held_out: Literal["image", "leaf"] = "image"
    """What training never saw: the picture only, or the picture and its whole leaf."""
    subset: str = ""
    """Variant or attack of a public benchmark; this and what follows is empty where the run asks its own questions."""
    category: str = ""
    """The benchmark's own category."""
    cluster: str = ""
    """What samples share that are variants of one another, if not the picture."""
    choices: tuple[str, ...] = ()
    row: str = ""
    """What the sample is called in the benchmark."""
    note: str = ""
    """What a judge has to know beside question and answer."""
    stand_in: Literal["", "blank", "noise"] = ""
    """What is shown because the benchmark has no picture; such a picture is shared by accident and clusters nothing."""

    @property
    def own_picture(self) -> str:
        """The picture that belongs to the sample; empty where there is none."""
        return "" if self.stand_in else self.image_id

    @property
    def unit(self) -> str:
        """The unit of sampling: what variants share, or else the picture, or else the sample itself."""
        return self.cluster or self.own_picture or self.id


class Answer(Record):
    """One model's answer to one sample."""

    prefix: ClassVar[str] = "ans"
    made_from: ClassVar[tuple[str, ...]] = ("sample_id", "model", "text")

    sample_id: str
    model: str
    """`before` or `after`, or any model's name; `NAME/blank` and the like where another picture was shown."""
    text: str
    finish: Finish


class Verdict(Record):
    """One judge's reading of one answer; `value` is the metric's event (unsafe, refused, or correctly named)."""

    prefix: ClassVar[str] = "ver"
    made_from: ClassVar[tuple[str, ...]] = ("answer_id", "judge", "metric")

    answer_id: str
    sample_id: str
    judge: str
    metric: str
    value: bool
    refused: bool | None = None
    """Whether the answer declines; None where the judge does not say."""
    score: float | None = None
    """From 0 to 1, where a benchmark gives parts of a point; `value` is then whether it is half a point or more."""
    rationale: str = ""


class Failure(BaseModel):
    """Why an item has no record: counted by reason, never read as a tie, as safe, or as zero."""

    model_config = ConfigDict(frozen=True)

    reason: str
    """A short machine name, such as `unreadable`, `unparsed` or `server_error`."""
    message: str
    """What happened, for a person."""
    dropped: bool = False
    """True when a rule left the item out on purpose (a duplicate, say); False when something went wrong."""
    transient: bool = False
    """True when the same call may succeed later; an unfinished stage tries such an item again when it is resumed."""


def leaf_parts(leaf: str) -> tuple[str, str, str]:
    """Splits `domain/category/subcategory`.

    Raises:
        ValueError: The text has not exactly three parts.
    """
    domain, category, subcategory = leaf.split("/")
    return domain, category, subcategory


def ids(records: Sequence[Record]) -> tuple[str, ...]:
    """Returns the ids of the records, in order."""
    return tuple(record.id for record in records)
