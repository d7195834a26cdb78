"""Every benchmark starts, says how it is asked for less, and is the one that RESULTS.md speaks of."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks"
PROGRAMS = [path for path in FOLDER.glob("*.py") if '__name__ == "__main__"' in path.read_text()]
"""The others are what benchmarks share."""
NAMES = sorted([*(path.stem for path in PROGRAMS), *(path.parent.name for path in FOLDER.glob("*/__main__.py"))])


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_says_how_to_run_it_quickly_and_keep_its_figures(name: str) -> None:
    command = [sys.executable, "-m", f"benchmarks.{name}", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^ +--quick ", done.stdout, re.MULTILINE)
    assert re.search(r"^ +--json ", done.stdout, re.MULTILINE)


def test_the_results_speak_of_every_benchmark_and_of_no_other() -> None:
    headings = re.findall(r"^## .*: `python -m benchmarks\.(\w+)`$", (FOLDER / "RESULTS.md").read_text(), re.MULTILINE)
    assert sorted(headings) == NAMES
    assert (FOLDER / "RESULTS.md").read_text().count("\n## ") == len(NAMES)
