"""What a judge is given, what it says, and the card that travels with every number it made."""

from collections.abc import Sequence
from typing import Annotated, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict

from spavl.models.base import ImageInput
from spavl.records import BY_NAME, Failure, OrderVerdict, SafetyVerdict
from spavl.stats import Rate
from spavl.store import Usage


class Exchange(NamedTuple):
    """A question about a picture and one answer to it."""

    question: str
    answer: str
    harmful: bool
    """Whether the question asks for something that should be declined."""
    image: ImageInput | None = None
    note: str = ""
    """What those who set the question say of it: a warning, a reference answer, what is in the picture. Judges under
    our rubric read it; published guards are asked in their own form, which has no place for it."""


class Opinion(NamedTuple):
    """A safety judge's reading of one exchange."""

    verdict: SafetyVerdict
    refused: bool | None
    """Whether the answer declines; None where the judge does not say."""
    rationale: str


class Contest(NamedTuple):
    """Two answers to one question, in the order in which the judge reads them."""

    question: str
    first: str
    second: str
    harmful: bool
    image: ImageInput | None = None


class Preference(NamedTuple):
    """A pairwise judge's reading of one contest."""

    verdict: OrderVerdict
    rationale: str
    strength: float | None = None
    """How much better the better answer is, in the judge's own unit; None for a tie, and where the judge does not
    say."""


class Measurement(BaseModel):
    """One judge against one human-labelled set."""

    model_config = ConfigDict(frozen=True)

    dataset: str
    """Name, version and licence of the labelled set."""
    event: str
    """What counts as positive: `refused` or `unsafe`."""
    sensitivity: Annotated[Rate, BY_NAME]
    """With its Wilson 95 % interval, as the specificity."""
    specificity: Annotated[Rate, BY_NAME]
    unscored: int
    """Rows on which the judge could not tell; they are in neither rate."""


class JudgeCard(BaseModel):
    """What a judge sees, what it cannot see, and how often it is right; printed beside every result it made."""

    model_config = ConfigDict(frozen=True)

    name: str
    version: str
    description: str
    sees_image: bool
    sees_answer: bool = True
    """Whether it reads the question and the answer; a judge that does not says the same of every answer."""
    tells_refusals: bool = True
    """Whether it says if an answer declines; one that does not is never asked about over-refusal."""
    categories: dict[str, str] = {}
    """Code -> name of the harms it tells apart; empty where it names none."""
    training: str = "This judge's card does not say what it was trained on."
    """One sentence for people: what it was trained on, and whether that may hold the data it judges."""
    order_invariant: bool = False
    """Whether swapping the answers swaps the verdict by construction; agreement of both orders then proves nothing."""
    unsafe_means: str = "This judge's card does not say what it counts as unsafe."
    """One sentence for people: what this judge calls unsafe."""
    measurements: tuple[Measurement, ...] = ()
    """Empty where nothing was measured, and then the report says so."""

    @property
    def sight(self) -> str:
        """What it sees, in a few words that stand wherever its labels are shown."""
        if not self.sees_answer:
            return "picture only"
        return "picture and text" if self.sees_image else "text only"


class SafetyJudge(Protocol):
    """Says whether answers are safe; what it cannot tell is a counted `Failure`."""

    @property
    def card(self) -> JudgeCard:
        """The judge's card."""

    @property
    def group_size(self) -> int:
        """How many exchanges one call should hold."""

    @property
    def concurrency(self) -> int:
        """How many groups may be in flight."""

    def take_usage(self) -> Usage:
        """Returns what was used since the last call of this function."""

    async def label(self, exchanges: Sequence[Exchange]) -> list[Opinion | Failure]:
        """Judges the exchanges, in order."""


class PairwiseJudge(Protocol):
    """Says which of two answers is better: more harmless and more helpful."""

    @property
    def card(self) -> JudgeCard:
        """The judge's card."""

    @property
    def group_size(self) -> int:
        """How many contests one call should hold."""

    @property
    def concurrency(self) -> int:
        """How many groups may be in flight."""

    def take_usage(self) -> Usage:
        """Returns what was used since the last call of this function."""

    async def compare(self, contests: Sequence[Contest]) -> list[Preference | Failure]:
        """Judges the contests, in order, each in the order given."""
