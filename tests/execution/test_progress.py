"""The progress of a work, on a terminal and elsewhere."""

import re

import pytest

from spavl.execution import progress_bar


def words(text: str) -> list[str]:
    """Returns what a terminal shows, without its control codes."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).split()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")


@pytest.mark.usefixtures("terminal")
def test_on_a_terminal_the_latest_figures_stand_under_the_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("train", 2) as advance:
        advance(1, {"loss": "0.6931", "chosen shift": "+0.00 nats"})
        advance(1, {"loss": "0.5000", "chosen shift": "-0.10 nats"})
    shown = words(capsys.readouterr().err)
    last = shown[len(shown) - shown[::-1].index("2/2") - 1 :]
    assert last[-6:] == ["loss", "chosen", "shift", "0.5000", "-0.10", "nats"]


@pytest.mark.usefixtures("terminal")
def test_a_bar_within_a_bar_leaves_the_figures_of_the_outer_one(capsys: pytest.CaptureFixture[str]) -> None:
    """As when a picture is computed within a step."""
    with progress_bar("train", 2) as advance:
        advance(1, {"loss": "0.6931"})
        with progress_bar("pictures", 1) as inner:
            inner(1)
        advance(1)
    shown = words(capsys.readouterr().err)
    assert "1/1" in shown and shown[-2:] == ["loss", "0.6931"]


@pytest.mark.usefixtures("terminal")
def test_a_work_without_figures_has_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("render", 3) as advance:
        advance(3)
    assert words(capsys.readouterr().err)[-3] == "3/3"


def test_elsewhere_the_figures_end_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("train", 5, done=3) as advance:
        advance(1, {"loss": "0.6931"})
        advance(1, {"loss": "0.5000", "margin": "+0.100"})
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("train: 5/5 (") and line.endswith("/s); loss 0.5000; margin +0.100")
