"""One driver for every station that asks a model: make the request, read the completion, keep the outcome."""

import textwrap
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from spavl.errors import NoUseError, SpavlError
from spavl.execution import map_items
from spavl.models.base import Completion, Request
from spavl.models.call_store import StoredModel
from spavl.models.replay import check_replayed
from spavl.records import Failure, Record
from spavl.store import Outcome, StageDirectory, Usage

T = TypeVar("T")
MAX_UNREACHED = 0.1
"""Share of a stage's items that may fail for a passing reason; beyond it the stage waits for the model to come back."""
LONGEST_MESSAGE = 200
"""Characters of a failure's message in an error."""


async def ask(
    stage: StageDirectory,
    items: Mapping[str, T],
    model: StoredModel,
    request: Callable[[T], Request],
    read: Callable[[T, Completion], Record | Failure],
    *,
    label: str,
) -> None:
    """Asks the model about every item that has no outcome yet.

    Args:
        stage: Where outcomes go.
        items: Item id -> item.
        model: The model, with its call store.
        request: Makes the request for an item; pure, so that the same item asks the same thing again.
        read: Turns a completion into a record or a failure; pure.
        label: What the progress bar says.
    """

    async def work(group: Sequence[tuple[str, T]]) -> tuple[list[Outcome], Usage]:
        replies = await model.generate([request(item) for _, item in group])
        outcomes = []
        for (name, item), reply in zip(group, replies, strict=True):
            result = reply if isinstance(reply, Failure) else read(item, reply)
            outcomes.append(outcome(name, result))
        return outcomes, model.take_usage()

    await map_items(stage, items, work, label=label, group_size=model.group_size, concurrency=model.concurrency)


def owe(stage: StageDirectory, items: Collection[str], error: SpavlError) -> None:
    """Notes that a model of no use owes what it was asked: the items without a record fail for a passing reason.

    Raises:
        RunError: The disk is full.
    """
    not_asked = Failure(reason="model_failed", message=str(error))
    failed = {item: one for item, one in stage.each_failure() if item in items and not one.dropped}
    owed = [item for item in items if item in failed or item not in stage]
    passing = {"transient": True}
    stage.append([Outcome(item, failure=failed.get(item, not_asked).model_copy(update=passing)) for item in owed])


def check_reached(stage: StageDirectory, items: int, among: Collection[str] | None = None) -> None:
    """Refuses to finish a stage whose model was out of reach for more than `MAX_UNREACHED` of its items, or of no use.

    The stage stays open, so the same command asks those items again, and only those.

    Args:
        stage: The stage.
        items: How many items the model was asked about.
        among: Which, where the stage has others.

    Raises:
        NoUseError: The model was out of reach too often, or no item has a record and at least one failed.
        RunError: A replay lacks calls.
    """
    check_replayed(stage, items)
    reasons: Counter[str] = Counter()
    last = ""
    for failure in _failures(stage, among):
        if failure.transient:
            reasons[failure.reason] += 1
            last = failure.message
    if reasons.total() > MAX_UNREACHED * items:
        counted = ", ".join(f"{reason} {count}" for reason, count in reasons.items())
        raise NoUseError(
            f"Stage {stage.name}: the model was out of reach for {reasons.total()} of {items} items ({counted}; "
            f"{last}). Start the server, or raise the budget, and run the same command again: only these are asked "
            "again."
        )
    check_answered(stage, items, among)


def _failures(stage: StageDirectory, among: Collection[str] | None) -> Iterator[Failure]:
    return (failure for item, failure in stage.each_failure() if among is None or item in among)


def commonest(failures: Iterable[Failure]) -> str:
    """Returns the reason that most failures have, how many have it, and what the first of them says, shortened."""
    reasons: Counter[str] = Counter()
    said: dict[str, str] = {}
    for one in failures:
        reasons[one.reason] += 1
        said.setdefault(one.reason, one.message)
    if not reasons:
        return "that nothing was asked"
    ((reason, count),) = reasons.most_common(1)
    message = textwrap.shorten(said[reason], LONGEST_MESSAGE, placeholder=" ...")
    return f"{reason}, {count} times: {message.rstrip('.')}"


def check_answered(stage: StageDirectory, items: int, among: Collection[str] | None = None) -> None:
    """Refuses to finish a stage in which items failed and none has a record; made anew, it asks again.

    A judge that cannot tell, and what a rule left out, are no sign of a model that does not work.

    Raises:
        NoUseError: It is so.
        RunError: A replay lacks calls.
    """
    check_replayed(stage, items)

    def broken() -> Iterator[Failure]:
        return (one for one in _failures(stage, among) if not one.dropped and one.reason != "unscored")

    if sum(1 for _ in _failures(stage, among)) == items and any(broken()):
        raise NoUseError(
            f"Stage {stage.name}: none of {items} items has a result, and {sum(1 for _ in broken())} failed; the "
            f"commonest reason is {commonest(broken())}. Mend the server or its settings in `models`, and run the same "
            f"command again with `--restart-from {stage.name}`: what failed or could not be read is asked again."
        )


def outcome(item: str, result: Record | Failure) -> Outcome:
    """Returns the outcome of an item that became this record or this failure."""
    if isinstance(result, Failure):
        return Outcome(item, failure=result)
    return Outcome(item, record=result)
