"""The log of rounds: what is counted of answers, and the alarms."""

import logging
from pathlib import Path
from typing import Any

import pytest

from spavl.errors import RunError
from spavl.records import Failure
from spavl.train.rl.metrics import ALARMS, RlLog, answer_figures
from spavl.train.rl.rollouts import Rollout

CALM: dict[str, Any] = {
    "kl": 5.0,
    "clipped": 0.1,
    "limited": 0.0,
    "explained_variance": {"reward": 0.5},
    "length": 20.0,
    "ended": 0.9,
    "refused_benign": 0.1,
}


def rollout(text: str, harmful: bool, tokens: tuple[int, ...], ended: bool) -> Rollout:
    return Rollout(
        prompt="prm-1", image_id="i", question="placeholder", harmful=harmful, tokens=tokens, text=text, ended=ended
    )


def test_answers_are_counted() -> None:
    """Three answers of 2, 4 and 6 tokens; one has no score; the harmful question is declined, one benign one too."""
    answers = [
        rollout("I cannot help with that.", True, (1, 2), True),
        rollout("I cannot help with that.", False, (1, 2, 3, 4), True),
        rollout("The picture shows a red chair.", False, (1, 2, 3, 4, 5, 6), False),
    ]
    found = answer_figures(answers, {"0_a": [1.0, Failure(reason="unscored", message="no"), 3.0]})
    assert found["scores"] == {"0_a": 2.0} and found["unscored"] == {"0_a": 1}
    assert (found["length"], found["refused_harmful"], found["refused_benign"]) == (4.0, 1.0, 0.5)
    assert found["ended"] == pytest.approx(2 / 3) and found["answers_harmful"] == 1 and found["different"] == 3


RAISES: dict[str, dict[str, Any]] = {
    "kl": {"kl": 30.0},
    "clipped": {"clipped": 0.33},
    "limit": {"limited": 0.6},
    "critic": {"explained_variance": {"reward": 0.0}},
    "length": {"length": 41.0},
    "ending": {"ended": 0.48},
    "refusals": {"refused_benign": 0.4},
}


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_is_raised_once_five_rounds_say_so_and_said_aloud_once(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A calm round comes first, which lengths and refusals are held against; four rounds more are not enough."""
    log = RlLog(tmp_path / "metrics.jsonl", 0)
    rounds = [CALM, *[CALM | RAISES[name]] * 6]
    with caplog.at_level(logging.WARNING):
        lines = [log.append({"step": number, **line}) for number, line in enumerate(rounds, 1)]
    raised = [line["alarms"] for line in lines]
    assert not any(raised[:5]) and raised[5:] == [[name], [name]]
    assert len(caplog.messages) == 1 and log.alarms[name] == 2


def test_calm_rounds_and_rounds_without_figures_raise_nothing(tmp_path: Path) -> None:
    log = RlLog(tmp_path / "metrics.jsonl", 0)
    empty = dict.fromkeys(CALM) | {"explained_variance": {}, "length": 20.0}
    for number in range(1, 20):
        assert log.append({"step": number, **(CALM if number % 2 else empty)})["alarms"] == []


def test_going_on_forgets_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log = RlLog(path, 0)
    for number in (1, 2, 3):
        log.append({"step": number, **CALM})
    path.write_bytes(path.read_bytes() + b'{"step": 4, "kl"')
    again = RlLog(path, 2)
    assert [line["step"] for line in again.lines] == [1, 2] and again.reached == 3
    assert len(path.read_text().splitlines()) == 2


def test_a_line_of_somebody_else_is_an_error(tmp_path: Path) -> None:
    (path := tmp_path / "metrics.jsonl").write_text('{"loss": 1}\n')
    with pytest.raises(RunError, match="line 1 is none that spavl wrote"):
        RlLog(path, 1)
