"""Running a station over its items: in windows, with progress, going on where an earlier run stopped."""

from spavl.execution.backoff import backoff_s, retry_after_s
from spavl.execution.items import LazyItems
from spavl.execution.map_items import Work, map_items
from spavl.execution.pace import InFlightLimit, MinuteLimit
from spavl.execution.progress import progress_bar
from spavl.execution.slots import Slots

__all__ = [
    "InFlightLimit",
    "LazyItems",
    "MinuteLimit",
    "Slots",
    "Work",
    "backoff_s",
    "map_items",
    "progress_bar",
    "retry_after_s",
]
