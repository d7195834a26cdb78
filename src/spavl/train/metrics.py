"""The training log: one JSON line an optimiser step, and the alarm for preferred answers that become less likely."""

import json
import logging
import statistics
from collections import deque
from pathlib import Path
from typing import Any

from spavl.store.files import append_whole, write_atomically

ALARM_WINDOW = 10
"""Steps whose mean is watched."""
ALARM_NATS = 1.0
"""How far the mean chosen log-probability may fall below the reference's; bfloat16 alone moves it by about 0.1."""

_log = logging.getLogger(__name__)


class MetricsLog:
    """The lines of `metrics.jsonl`.

    Args:
        path: The file.
        done: The step training goes on from; later lines, and a line torn by a crash, are removed.
    """

    def __init__(self, path: Path, done: int) -> None:
        self._path = path
        kept = [line for line in _whole_lines(path) if line["step"] <= done]
        write_atomically(path, b"".join(_encoded(line) for line in kept))
        shifts = [line["chosen_shift"] for line in kept if line["chosen_shift"] is not None]
        self._shifts = deque(shifts, maxlen=ALARM_WINDOW)
        self.alarms = sum(line["chosen_falling"] for line in kept)

    def append(self, line: dict[str, Any]) -> None:
        """Adds a step's line, with `chosen_falling`; the first alarm is also said aloud.

        Raises:
            RunError: The disk is full.
        """
        if line["chosen_shift"] is not None:  # without a reference there is nothing to fall below
            self._shifts.append(line["chosen_shift"])
        mean = statistics.fmean(self._shifts or [0.0])
        falling = len(self._shifts) == ALARM_WINDOW and mean < -ALARM_NATS
        append_whole(self._path, _encoded(line | {"chosen_falling": falling}))
        if falling and not self.alarms:
            _log.warning(
                "step %d: over the last %d steps the chosen answers' log-probability lies %.1f nats below the "
                "reference's. The margin may grow at their cost; try a lower learning rate or a greater beta.",
                line["step"],
                ALARM_WINDOW,
                -mean,
            )
        self.alarms += falling


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    content = path.read_bytes()
    return [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]


def _encoded(line: dict[str, Any]) -> bytes:
    return json.dumps(line).encode() + b"\n"
