"""One driver for every station that asks a model: make the request, read the completion, keep the outcome."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from spavl.execution import map_items
from spavl.models.base import Completion, Request
from spavl.models.call_store import StoredModel
from spavl.records import Failure, Record
from spavl.store import Outcome, StageDirectory, Usage

T = TypeVar("T")


async def ask(
    stage: StageDirectory,
    items: Sequence[tuple[str, T]],
    model: StoredModel,
    request: Callable[[T], Request],
    read: Callable[[T, Completion], Record | Failure],
    *,
    label: str,
) -> None:
    """Asks the model about every item that has no outcome yet.

    Args:
        stage: Where outcomes go.
        items: (item id, item).
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


def outcome(item: str, result: Record | Failure) -> Outcome:
    """Returns the outcome of an item that became this record or this failure."""
    if isinstance(result, Failure):
        return Outcome(item, failure=result)
    return Outcome(item, record=result)
