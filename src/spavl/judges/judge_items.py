"""One driver for every station that asks a judge: make the case, hear the judge, keep the outcome."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from spavl.execution import map_items
from spavl.models.ask import check_reached, outcome
from spavl.records import Failure, Record
from spavl.store import Outcome, StageDirectory, Usage

T = TypeVar("T")
Case = TypeVar("Case")
Finding = TypeVar("Finding")


class Limits(Protocol):
    """The part of a judge that says how it wants to be asked."""

    @property
    def group_size(self) -> int:
        """How many cases one call should hold."""

    @property
    def concurrency(self) -> int:
        """How many groups may be in flight."""

    def take_usage(self) -> Usage:
        """Returns what was used since the last call of this function."""


async def judge_items(
    stage: StageDirectory,
    items: Mapping[str, T],
    judge: Limits,
    case: Callable[[T], Case],
    hear: Callable[[Sequence[Case]], Awaitable[Sequence[Finding | Failure]]],
    record: Callable[[T, Finding], Record | Failure],
) -> None:
    """Has every item of a stage judged that has no outcome yet.

    Args:
        stage: Where outcomes go.
        items: Item id -> item.
        judge: How large groups may be, and what they used.
        case: Makes what the judge reads of an item.
        hear: `judge.label` or `judge.compare`.
        record: Makes the record of an item and the judge's finding; a failure is kept as it is.

    Raises:
        NoUseError: The judge's model was out of reach too often, or gave no verdict at all.
    """
    await hear_items(stage, items, judge, case, hear, record)
    check_reached(stage, len(items))


async def hear_items(
    stage: StageDirectory,
    items: Mapping[str, T],
    judge: Limits,
    case: Callable[[T], Case],
    hear: Callable[[Sequence[Case]], Awaitable[Sequence[Finding | Failure]]],
    record: Callable[[T, Finding], Record | Failure],
) -> None:
    """Has the items judged, as `judge_items`, in a stage that other judges share; who calls it checks the stage."""

    async def work(group: Sequence[tuple[str, T]]) -> tuple[list[Outcome], Usage]:
        findings = await hear([case(item) for _, item in group])
        outcomes = [
            outcome(name, finding if isinstance(finding, Failure) else record(item, finding))
            for (name, item), finding in zip(group, findings, strict=True)
        ]
        return outcomes, judge.take_usage()

    await map_items(stage, items, work, label=stage.name, group_size=judge.group_size, concurrency=judge.concurrency)
