"""A progress bar with counts, rate and time left on a terminal; a line every few seconds elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Task as RichTask
from rich.text import Text

LINE_INTERVAL_S = 5.0
Advance = Callable[[int], None]


class RateColumn(TextColumn):
    """Items per second since the start of the bar."""

    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: RichTask) -> Text:
        """Returns the rate, or nothing before the first item."""
        return Text(f"{task.speed:.1f}/s" if task.speed else "", style="dim")


@contextmanager
def progress_bar(label: str, total: int, done: int = 0) -> Iterator[Advance]:
    """Yields a function that advances the bar; progress goes to standard error.

    Args:
        label: What is being done.
        total: All items.
        done: Items that an earlier attempt finished.
    """
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (
            TextColumn("{task.description:<24}"),
            BarColumn(),
            MofNCompleteColumn(),
            RateColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console) as progress:
            task = progress.add_task(label, total=total, completed=done)
            yield lambda count: progress.advance(task, count)
        return
    with _progress_lines(label, total, done) as advance:
        yield advance


@contextmanager
def _progress_lines(label: str, total: int, done: int) -> Iterator[Advance]:
    started = last = time.monotonic()
    completed, said = done, -1

    def say(now: float) -> None:
        nonlocal said
        if completed == said:
            return
        said = completed
        rate = (completed - done) / max(now - started, 1e-9)
        left = f", {(total - completed) / rate:.0f} s left" if rate and completed < total else ""
        print(f"{label}: {completed}/{total} ({rate:.1f}/s{left})", file=sys.stderr, flush=True)

    def advance(count: int) -> None:
        nonlocal completed, last
        completed += count
        now = time.monotonic()
        if now - last >= LINE_INTERVAL_S:
            last = now
            say(now)

    yield advance
    say(time.monotonic())
