"""The contests station: a pairwise judge compares the answers before and after, in both orders."""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Literal, NamedTuple

from spavl.judges.base import Contest, PairwiseJudge, Preference
from spavl.judges.judge_items import judge_items
from spavl.models.base import ImageInput
from spavl.records import Answer, OrderVerdict, Record, Sample
from spavl.store import Manifest, StageDirectory


class ContestResult(Record):
    """One judge's verdict on the answers before and after, in one order."""

    prefix: ClassVar[str] = "con"
    made_from: ClassVar[tuple[str, ...]] = ("before_id", "after_id", "first", "judge")

    sample_id: str
    before_id: str
    after_id: str
    first: Literal["before", "after"]
    """Which answer the judge read first."""
    judge: str
    verdict: OrderVerdict
    rationale: str

    @property
    def winner(self) -> Literal["before", "after"] | None:
        """The answer that won, or None for a tie."""
        if self.verdict == "tie":
            return None
        second: Literal["before", "after"] = "after" if self.first == "before" else "before"
        return self.first if self.verdict == "first" else second


class _Match(NamedTuple):
    sample: Sample
    before: Answer
    after: Answer
    first: Literal["before", "after"]


async def hold_contests(
    judge: PairwiseJudge,
    samples: Sequence[Sample],
    before: Mapping[str, Answer],
    after: Mapping[str, Answer],
    show: Callable[[str], ImageInput | None],
    stage: StageDirectory,
) -> Manifest:
    """Runs the station: each sample that both models answered, in both orders."""
    orders: tuple[Literal["before", "after"], ...] = ("before", "after")
    items = [
        (f"{sample.id}/{first}", _Match(sample, before[sample.id], after[sample.id], first))
        for sample in samples
        if sample.expect != "name" and sample.id in before and sample.id in after
        for first in orders
    ]

    def case(match: _Match) -> Contest:
        texts = match.before.text, match.after.text
        one, other = texts if match.first == "before" else texts[::-1]
        return Contest(match.sample.prompt, one, other, match.sample.expect == "refuse", show(match.sample.image_id))

    def record(match: _Match, preference: Preference) -> ContestResult:
        return ContestResult(
            sample_id=match.sample.id,
            before_id=match.before.id,
            after_id=match.after.id,
            first=match.first,
            judge=judge.card.name,
            **preference._asdict(),
        )

    await judge_items(stage, dict(items), judge, case, judge.compare, record)
    return stage.finish([item for item, _ in items])
