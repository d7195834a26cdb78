"""Two processes with one store of calls: the second says so, and only while the first is there."""

import subprocess
import sys
from pathlib import Path

import pytest

from spavl.models import CallStore

HOLD = """
import sys
from pathlib import Path
from spavl.models import CallStore
store = CallStore(Path(sys.argv[1]))
print("open", flush=True)
sys.stdin.read()
"""


def test_a_second_process_says_that_it_is_not_alone_until_the_first_was_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "calls.sqlite"
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "open\n"
        CallStore(path).close()
        said = capsys.readouterr().err
        assert said.startswith(f"calls: another process is at work with {path}.") and "paid twice" in said
        other.kill()
    CallStore(path).close()
    assert capsys.readouterr().err == ""


def test_one_process_may_open_a_store_twice_and_says_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = CallStore(tmp_path / "calls.sqlite"), CallStore(tmp_path / "calls.sqlite")
    first.close()
    second.close()
    assert capsys.readouterr().err == ""
