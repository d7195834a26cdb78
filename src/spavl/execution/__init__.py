"""Running a station over its items: in windows, with progress, going on where an earlier run stopped."""

from spavl.execution.map_items import Work, map_items
from spavl.execution.progress import progress_bar

__all__ = ["Work", "map_items", "progress_bar"]
