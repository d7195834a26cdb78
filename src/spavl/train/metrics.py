"""The training log: one JSON line an optimiser step, and the alarm for preferred answers that become less likely."""

import logging
import statistics
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, PositiveInt

from spavl.train.step_lines import StepLines

ALARM_WINDOW = 10
"""Steps whose mean is watched."""
ALARM_NATS = 1.0
"""How far the mean chosen log-probability may fall below the reference's; bfloat16 alone moves it by about 0.1."""

_log = logging.getLogger(__name__)


class _Line(BaseModel):
    """What is read of a line when training goes on; the other figures are written back as they were."""

    model_config = ConfigDict(strict=True)

    step: PositiveInt
    chosen_shift: float | None
    chosen_falling: bool


class MetricsLog:
    """The lines of `metrics.jsonl`.

    Args:
        path: The file.
        done: The step training goes on from; later lines, and a line torn by a crash, are removed.

    Raises:
        RunError: A line is none that spavl wrote, or the disk is full.
    """

    def __init__(self, path: Path, done: int) -> None:
        self._lines = StepLines(path, done, _Line)
        self.reached = self._lines.reached
        shifts = [line["chosen_shift"] for line in self._lines.kept if line["chosen_shift"] is not None]
        self._shifts = deque(shifts, maxlen=ALARM_WINDOW)
        self._alarms = sum(line["chosen_falling"] for line in self._lines.kept)

    @property
    def alarms(self) -> int | None:
        """Steps with the alarm; None where nothing was watched: there is no reference, or were too few steps."""
        return self._alarms if len(self._shifts) == ALARM_WINDOW else None

    def append(self, line: dict[str, Any]) -> dict[str, Any]:
        """Adds a step's line, with `chosen_falling`, and returns it so; the first alarm is also said aloud.

        Raises:
            RunError: The disk is full.
        """
        line = {"chosen_shift": None, **line}  # a reward model's has none
        if line["chosen_shift"] is not None:  # without a reference there is nothing to fall below
            self._shifts.append(line["chosen_shift"])
        mean = statistics.fmean(self._shifts or [0.0])
        falling = len(self._shifts) == ALARM_WINDOW and mean < -ALARM_NATS
        line = line | {"chosen_falling": falling}
        self._lines.append(line)
        if falling and not self._alarms:
            _log.warning(
                "step %d: over the last %d steps the chosen answers' log-probability lies %.1f nats below the "
                "reference's. The margin may grow at their cost; try a lower learning rate or a greater beta.",
                line["step"],
                ALARM_WINDOW,
                -mean,
            )
        self._alarms += falling
        return line


def shown_figures(line: Mapping[str, Any]) -> dict[str, str]:
    """Returns what of a step's line is shown beside the progress: name -> figure with its unit."""
    margin, shift, seconds = line["reward_margin"], line["chosen_shift"], line["seconds"]
    shown = {
        "loss": f"{line['loss']:.4f}",
        "accuracy": "no pairs" if margin is None else f"{100 * line['accuracy']:.0f} %",
        "margin": "no pairs" if margin is None else f"{margin:+.3f}",
        "chosen shift": "not measured" if shift is None else f"{shift:+.2f} nats",
        "gradient": f"{line['grad_norm']:.3g}",
        "rate": f"{line['learning_rate']:.2g}",
        "step": f"{seconds:.3g} s",
        "tokens": f"{line['tokens'] / max(seconds, 1e-4):,.0f}/s",
    }
    return shown | {"alarm": "chosen falling"} if line["chosen_falling"] else shown
