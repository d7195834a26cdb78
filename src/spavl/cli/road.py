"""`spavl run`, and its parts `build`, `train`, `evaluate` and `report`."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from spavl.cli.options import AsJson, ConfigPath, Overrides, RestartFrom, say
from spavl.config import RunConfig, load_config

PARTS = ("build", "train", "evaluate", "report")


def run(
    config: ConfigPath, overrides: Overrides = None, restart_from: RestartFrom = None, as_json: AsJson = False
) -> None:
    """Do everything: build the dataset, align the model, evaluate it, write the report."""
    travel(load_config(config, overrides or ()), PARTS, restart_from, as_json)


def build(
    config: ConfigPath, overrides: Overrides = None, restart_from: RestartFrom = None, as_json: AsJson = False
) -> None:
    """Build a preference dataset: pictures, questions, responses, labels, judgments, pairs."""
    travel(load_config(config, overrides or ()), PARTS[:1], restart_from, as_json)


def train(
    config: ConfigPath, overrides: Overrides = None, restart_from: RestartFrom = None, as_json: AsJson = False
) -> None:
    """Align the model on the run's dataset."""
    travel(load_config(config, overrides or ()), PARTS[1:2], restart_from, as_json)


def evaluate(
    config: ConfigPath, overrides: Overrides = None, restart_from: RestartFrom = None, as_json: AsJson = False
) -> None:
    """Measure the model before and after alignment, on pictures that training never saw."""
    travel(load_config(config, overrides or ()), PARTS[2:3], restart_from, as_json)


def report(config: ConfigPath, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Write the run's report page and summary.json."""
    travel(load_config(config, overrides or ()), PARTS[3:], None, as_json)


def travel(config: RunConfig, parts: Sequence[str], restart_from: str | None, as_json: bool) -> None:
    """Opens the run and takes the parts of the road in order."""
    from spavl import pipeline

    with pipeline.open_road(config) as road:
        if restart_from is not None:
            road.run.restart_from(restart_from, pipeline.STAGES)
        if "build" in parts:
            asyncio.run(pipeline.build(road))
        if "train" in parts:
            asyncio.run(pipeline.train(road))
        if "evaluate" in parts:
            asyncio.run(pipeline.evaluate(road))
        _tell(road, parts, as_json)


def _tell(road: "object", parts: Sequence[str], as_json: bool) -> None:
    raise AssertionError
