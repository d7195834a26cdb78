"""Maps a stage's work over its items with a bounded number of groups in flight.

Groups are cut from the whole list of items, not from what is left of it, so a stage that was interrupted forms the
same groups as one that was not; for a local model a group is a batch, and equal batches give equal answers. An item is
asked for when its group begins and let go when it ends.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from typing import TypeVar

from spavl.errors import SpavlError
from spavl.execution.items import LazyItems
from spavl.execution.progress import progress_bar
from spavl.store import Outcome, StageDirectory, Usage

T = TypeVar("T")
Work = Callable[[Sequence[tuple[str, T]]], Awaitable[tuple[list[Outcome], Usage]]]
"""Takes one group of (item id, item) and returns an outcome for each, in order, and what the calls used."""


async def map_items(
    stage: StageDirectory,
    items: Mapping[str, T],
    work: Work[T],
    *,
    label: str,
    group_size: int = 1,
    concurrency: int = 1,
) -> None:
    """Gives every item that has no outcome to `work`, and appends what comes back.

    After an error no further group is begun, but those in flight are waited for: their calls may be paid for already.

    Args:
        stage: Where outcomes go.
        items: Item id -> item, all of them in their fixed order.
        work: The work on one group.
        label: What the progress bar says.
        group_size: Items of one group.
        concurrency: Groups in flight; memory does not grow with the number of items.

    Raises:
        RunError: The disk is full; or whatever `work` raises for a condition that no item can be blamed for.
    """
    done = sum(item in stage for item in items)
    groups = groups_left(stage, items, group_size)
    troubles: list[SpavlError] = []
    with progress_bar(label, len(items), done) as advance:

        async def take_groups() -> None:
            for names, pending in groups:
                if troubles:
                    return
                try:
                    outcomes, usage = await work([(item, items[item]) for item in names])
                    fresh = [outcome for outcome in outcomes if outcome.item in pending]
                    stage.append(fresh, usage)
                    advance(len(fresh))
                except SpavlError as error:
                    troubles.append(error)

        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(min(concurrency, len(items))):
                    tasks.create_task(take_groups())
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors
    if troubles:
        raise troubles[0]


def groups_left(
    stage: StageDirectory, items: Mapping[str, T], group_size: int
) -> Iterator[tuple[list[str], frozenset[str]]]:
    """Yields the groups with something left to do: all their items, and those that have no outcome yet."""
    section = items.section if isinstance(items, LazyItems) else None
    for _, names in groupby(items, section or (lambda _: "")):
        while group := list(islice(names, group_size)):
            pending = frozenset(stage.pending(group))
            if pending:
                yield group, pending
