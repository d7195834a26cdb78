"""A progress bar with counts, rate and time left on a terminal; a line every few seconds elsewhere.

Work with figures of its own, as training has, shows the latest under the bar or at the end of the line.
"""

import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Task as RichTask
from rich.table import Table
from rich.text import Text

LINE_INTERVAL_S = 5.0


class Advance(Protocol):
    """Advances a bar."""

    def __call__(self, count: int, latest: Mapping[str, str] | None = None, /) -> None:
        """Advances by `count` items; `latest` is what to show of them, name -> figure."""


class RateColumn(TextColumn):
    """Items per second since the start of the bar."""

    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: RichTask) -> Text:
        """Returns the rate, or nothing before the first item."""
        return Text(f"{task.speed:.1f}/s" if task.speed else "", style="dim")


class FiguresProgress(Progress):
    """A bar with the latest figures under it."""

    latest: Mapping[str, str] | None = None

    def get_renderables(self) -> Iterable[RenderableType]:
        """Yields the bar, and the figures as a table of one row once there are some."""
        yield self.make_tasks_table(self.tasks)
        if self.latest:
            table = Table(*self.latest, box=None, pad_edge=False, header_style="dim")
            table.add_row(*self.latest.values())
            yield table


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
        with FiguresProgress(*columns, console=console) as progress:
            task = progress.add_task(label, total=total, completed=done)

            def advance_bar(count: int, latest: Mapping[str, str] | None = None) -> None:
                progress.latest = latest or progress.latest
                progress.advance(task, count)

            yield advance_bar
        return
    with _progress_lines(label, total, done) as advance:
        yield advance


@contextmanager
def _progress_lines(label: str, total: int, done: int) -> Iterator[Advance]:
    started = last = time.monotonic()
    completed, said, figures = done, -1, ""

    def say(now: float) -> None:
        nonlocal said
        if completed == said:
            return
        said = completed
        rate = (completed - done) / max(now - started, 1e-9)
        left = f", {(total - completed) / rate:.0f} s left" if rate and completed < total else ""
        print(f"{label}: {completed}/{total} ({rate:.1f}/s{left}){figures}", file=sys.stderr, flush=True)

    def advance(count: int, latest: Mapping[str, str] | None = None) -> None:
        nonlocal completed, last, figures
        completed += count
        if latest:
            figures = "".join(f"; {name} {figure}" for name, figure in latest.items())
        now = time.monotonic()
        if now - last >= LINE_INTERVAL_S:
            last = now
            say(now)

    yield advance
    say(time.monotonic())
