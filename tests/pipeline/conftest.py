"""What the tests of evaluation recipes share: a server, and a benchmark's files."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.pipeline.planted_evaluation import honest
from tests.pipeline.planted_server import PlantedServer


@pytest.fixture
def server() -> Iterator[PlantedServer]:
    with PlantedServer(honest).running() as running:
        yield running


@pytest.fixture
def harmful(tmp_path: Path) -> Path:
    """MM-SafetyBench's layout, text alone: 40 questions in two scenarios."""
    folder = tmp_path / "mm" / "data" / "processed_questions"
    folder.mkdir(parents=True)
    for place, name in enumerate(("01-First", "02-Second")):
        numbers = range(place * 20, place * 20 + 20)
        rows = {str(number): {"Changed Question": f"Placeholder harmful question {number}?"} for number in numbers}
        (folder / f"{name}.json").write_text(json.dumps(rows))
    return tmp_path / "mm"
