"""The training log survives a crash, and raises its alarm."""

import json
import logging
from pathlib import Path

import pytest

from spavl.train.metrics import MetricsLog


def read(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_lines_after_the_checkpoint_and_a_torn_line_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path, done=0)
    for step in (1, 2, 3):
        log.append({"step": step, "chosen_shift": 0.0})
    with path.open("ab") as file:
        file.write(b'{"step": 4, "chosen')
    MetricsLog(path, done=2).append({"step": 3, "chosen_shift": 1.0})
    assert [(line["step"], line["chosen_shift"]) for line in read(path)] == [(1, 0.0), (2, 0.0), (3, 1.0)]


def test_a_falling_chosen_log_probability_is_an_alarm_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Ten steps at -2 nats: the tenth has a full window with mean -2 < -1; so has the eleventh."""
    log = MetricsLog(tmp_path / "metrics.jsonl", done=0)
    with caplog.at_level(logging.WARNING):
        for step in range(1, 12):
            log.append({"step": step, "chosen_shift": -2.0})
    assert log.alarms == 2
    assert [line["step"] for line in read(tmp_path / "metrics.jsonl") if line["chosen_falling"]] == [10, 11]
    assert len(caplog.records) == 1 and "2.0 nats below" in caplog.text


def test_the_alarm_window_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path, done=0)
    for step in range(1, 10):
        log.append({"step": step, "chosen_shift": -2.0})
    again = MetricsLog(path, done=9)
    again.append({"step": 10, "chosen_shift": -2.0})
    assert again.alarms == 1
