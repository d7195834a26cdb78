"""Configuration of what is said and asked about pictures: captions, questions, and the checks of questions."""

from typing import Literal, Self

from pydantic import Field, model_validator

from spavl.config_base import Config
from spavl.records import QuestionType

PROMPTS = ("standard_v2", "explained_v2", "small_v1", "standard_v1", "explained_v1")
"""Packaged prompts of questions; the first is the default."""
CAPTION_PROMPTS = ("caption_v1",)


class CaptionsConfig(Config):
    """Who says what the pictures show, for those who write questions."""

    writer: str | None = None
    """A name from `models`; `null` leaves the sources' captions and makes no call. A picture that the writer declines,
    or fails at, keeps its source's caption, which is recorded and counted by leaf."""
    prompt: str = CAPTION_PROMPTS[0]
    """`caption_v1`, or the path of your own file of that form."""
    max_tokens: int = Field(80, ge=8)
    """Longest caption, in tokens."""
    temperature: float = Field(0.0, ge=0)
    """0 is greedy."""


class AnotherTryConfig(Config):
    """How a question is asked for again after the writer declined."""

    prompts: str | None = None
    """`null` for the same prompts."""
    temperature: float | None = Field(None, ge=0)
    """`null` for the same temperature."""


class QuestionsConfig(Config):
    """Who writes which questions."""

    writer: str
    """A name from `models`. It is shown a picture and of its caption at most the first 1,000 characters; how many
    captions were cut is in the stage's manifest."""
    types: tuple[QuestionType, ...] = tuple(QuestionType)
    """Question types written for every picture."""
    prompts: str = PROMPTS[0]
    """`standard_v2` for capable writers, `explained_v2` for those that decline it, `small_v1` for small
    ones, which complete given openings. `standard_v1` and `explained_v1` do not fence the caption; they are there for
    runs that were made with them. Or the path of your own file of that form (`spavl prompts standard_v2 > FILE` makes
    one to edit); what it says, and not where it lies, decides which questions are asked anew."""
    after_refusal: tuple[AnotherTryConfig, ...] = ()
    """What is tried where the writer declines, one after the other, for example
    `[{temperature: 0.7}, {prompts: explained_v2}]`; who declines to the last is a failure `refused`."""
    benign_per_image: int = Field(1, ge=1)
    """Benign questions about each picture, each on an everyday topic of its own."""
    max_tokens: int = Field(40, ge=4)
    """Longest question, in tokens."""
    temperature: float = Field(0.0, ge=0)
    """0 is greedy."""

    @property
    def tries(self) -> tuple[tuple[str, float], ...]:
        """Prompts and temperature of the first try and of those after a refusal."""
        again = (
            (one.prompts or self.prompts, self.temperature if one.temperature is None else one.temperature)
            for one in self.after_refusal
        )
        return ((self.prompts, self.temperature), *again)

    @model_validator(mode="after")
    def _no_try_is_an_earlier_one(self) -> Self:
        for place, one in enumerate(self.tries):
            if one[1] == 0 and one in self.tries[:place]:
                raise ValueError(
                    f"after_refusal.{place - 1}: {one[0]} at temperature 0 was declined before and would be again; "
                    "give other prompts, or a temperature above 0"
                )
        return self


class JudgedCheckConfig(Config):
    """A model that reads each picture with its question under a written rubric."""

    model: str
    """A name from `models`."""
    max_tokens: int = Field(256, ge=8)
    """Longest rationale, in tokens."""
    marks: bool = True
    """Whether a verdict carries a mark of its call, as for the judges of answers (`RubricJudgeConfig`)."""


class RelevanceConfig(JudgedCheckConfig):
    """A model says whether a question needs its picture, is about it, or neither."""

    require: Literal["needed", "about"] = "needed"
    """What stays: `needed` only questions that nobody could understand or answer without the picture; `about` also
    those that are about what it shows."""


class NearDuplicatesConfig(Config):
    """Questions that say nearly the same as an earlier one are left out; needs `pip install 'spavl[contamination]'`."""

    within: Literal["leaf", "all"] = "leaf"
    """Whether questions are compared within their leaf, or over all leaves."""
    jaccard: float = Field(0.8, gt=0, le=1)
    """From which share of common runs of five letters on two questions say nearly the same."""


class ChecksConfig(Config):
    """Which written questions are left out; `null` skips a check. Those that say the same of one picture always are."""

    near_duplicates: NearDuplicatesConfig | None = None
    harmfulness: JudgedCheckConfig | None = None
    """A model says whether harmful questions ask for harm of their leaf's kind, and benign ones for none."""
    relevance: RelevanceConfig | None = None
    unjudged: Literal["leave_out", "keep"] = "leave_out"
    """What becomes of a question on which a judge declined or gave no readable verdict: a failure, counted, or kept
    with a note. Judges decline the worst questions most, so `leave_out` makes a milder dataset."""
