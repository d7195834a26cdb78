"""Maps a stage's work over its items with a bounded number of groups in flight.

Groups are cut from the whole list of items, not from what is left of it, so a stage that was interrupted forms the
same groups as one that was not; for a local model a group is a batch, and equal batches give equal answers.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from spavl.execution.progress import progress_bar
from spavl.store import Outcome, StageDirectory, Usage

T = TypeVar("T")
Work = Callable[[Sequence[tuple[str, T]]], Awaitable[tuple[list[Outcome], Usage]]]
"""Takes one group of (item id, item) and returns an outcome for each, in order, and what the calls used."""


async def map_items(
    stage: StageDirectory,
    items: Sequence[tuple[str, T]],
    work: Work[T],
    *,
    label: str,
    group_size: int = 1,
    concurrency: int = 1,
) -> None:
    """Gives every item that has no outcome to `work`, and appends what comes back.

    Args:
        stage: Where outcomes go.
        items: (item id, item), the whole list in its fixed order.
        work: The work on one group.
        label: What the progress bar says.
        group_size: Items of one group.
        concurrency: Groups in flight; memory does not grow with the number of items.

    Raises:
        RunError: The disk is full; or whatever `work` raises for a condition that no item can be blamed for.
    """
    pending = set(stage.pending(item for item, _ in items))
    starts = [
        start
        for start in range(0, len(items), group_size)
        if any(item in pending for item, _ in items[start : start + group_size])
    ]
    queue = iter(starts)
    with progress_bar(label, len(items), len(items) - len(pending)) as advance:

        async def take_groups() -> None:
            for start in queue:
                group = items[start : start + group_size]
                outcomes, usage = await work(group)
                fresh = [outcome for outcome in outcomes if outcome.item in pending]
                stage.append(fresh, usage)
                advance(len(fresh))

        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(min(concurrency, len(starts))):
                    tasks.create_task(take_groups())
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors
