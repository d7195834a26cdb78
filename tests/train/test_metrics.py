"""The training log survives a crash, and raises its alarm."""

import json
import logging
from pathlib import Path

import pytest

from spavl.errors import RunError
from spavl.train.metrics import MetricsLog, shown_figures

MISTYPED = [
    b'{"step": "2", "chosen_shift": 0.0, "chosen_falling": false}',
    b'{"step": 2, "chosen_shift": "x", "chosen_falling": false}',
    b'{"step": 2, "chosen_shift": 0.0, "chosen_falling": null}',
]


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


@pytest.mark.parametrize("broken", [b'{"step": 2, "chosen', b"null", b"7", b'{"step": 2}', b"\xff\x00", *MISTYPED])
def test_a_broken_line_in_the_middle_is_one_line_that_names_it(tmp_path: Path, broken: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path, done=0)
    for step in (1, 2, 3):
        log.append({"step": step, "chosen_shift": 0.0})
    first, _, last = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + broken + b"\n" + last)
    with pytest.raises(
        RunError, match=r"metrics\.jsonl, line 2 is none that spavl wrote: .*--restart-from train"
    ) as said:
        MetricsLog(path, done=2)
    assert "\n" not in str(said.value)
    assert path.read_bytes() == first + broken + b"\n" + last


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


def test_where_nothing_is_watched_no_number_of_alarms_is_given(tmp_path: Path) -> None:
    """Nine steps fill no window of ten; without a reference (SimPO) there is nothing to fall below."""
    short, free = MetricsLog(tmp_path / "short.jsonl", done=0), MetricsLog(tmp_path / "free.jsonl", done=0)
    for step in range(1, 10):
        short.append({"step": step, "chosen_shift": 0.0})
        free.append({"step": step})
    assert short.alarms is None and free.alarms is None
    free.append({"step": 10})
    short.append({"step": 10, "chosen_shift": 0.0})
    assert short.alarms == 0 and free.alarms is None


def test_the_alarm_window_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path, done=0)
    for step in range(1, 10):
        log.append({"step": step, "chosen_shift": -2.0})
    again = MetricsLog(path, done=9)
    again.append({"step": 10, "chosen_shift": -2.0})
    assert again.alarms == 1


def test_the_last_step_of_an_earlier_attempt_is_known_after_its_lines_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path, done=0)
    assert log.reached == 0
    for step in (1, 2, 3):
        log.append({"step": step, "chosen_shift": 0.0})
    assert MetricsLog(path, done=2).reached == 3
    assert MetricsLog(path, done=2).reached == 2


def test_figures_are_shown_with_their_units() -> None:
    """900 tokens in 0.5 s are 1,800 a second."""
    line = {
        "loss": 0.693147,
        "accuracy": 0.625,
        "reward_margin": 0.1234,
        "chosen_shift": -1.5,
        "grad_norm": 12.345,
        "learning_rate": 2e-4,
        "seconds": 0.5,
        "tokens": 900,
        "chosen_falling": False,
    }
    assert shown_figures(line) == {
        "loss": "0.6931",
        "accuracy": "62 %",
        "margin": "+0.123",
        "chosen shift": "-1.50 nats",
        "gradient": "12.3",
        "rate": "0.0002",
        "step": "0.5 s",
        "tokens": "1,800/s",
    }
    assert shown_figures(line | {"chosen_falling": True})["alarm"] == "chosen falling"
    assert shown_figures(line | {"chosen_shift": None})["chosen shift"] == "not measured"
    none = shown_figures(line | {"chosen_shift": None, "reward_margin": None, "accuracy": None})
    assert (none["margin"], none["accuracy"]) == ("no pairs", "no pairs")
