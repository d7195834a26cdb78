"""Whoever had a part in the training data is told by what it is, in every part that there is."""

import json
from pathlib import Path
from typing import Any

import pytest

from spavl.pipeline.related import ROLES, related_judges
from spavl.pipeline.road import ALL_STAGES

SERVED = {
    "config": {"kind": "openai", "model": "Owner/Placeholder-Guard"},
    "fingerprint": {"kind": "openai", "at": "a"},
}
ELSEWHERE = {"config": {"kind": "openai", "model": "placeholder-guard"}, "fingerprint": {"kind": "openai", "at": "b"}}
OTHER = {"config": {"kind": "openai", "model": "other"}, "fingerprint": {"kind": "openai", "at": "b"}}


def run_with(folder: Path, stage: str, settings: dict[str, Any]) -> Path:
    (folder / stage).mkdir(parents=True)
    (folder / stage / "identity.json").write_text(json.dumps({"config": settings, "inputs": {}}))
    return folder


@pytest.mark.parametrize("stage", ROLES)
def test_a_model_of_any_stage_is_known_wherever_it_is_served_now(tmp_path: Path, stage: str) -> None:
    """Its owner is left out of its name, which is in small letters at the other server."""
    run = run_with(tmp_path / "run", stage, {"some": [{"models": {"alias": SERVED}}]})
    judges = {"same": {"model": ELSEWHERE, "config": {"kind": "rubric"}, "rules": "1"}, "other": {"model": OTHER}}
    assert related_judges(run, judges) == {"same": (ROLES[stage],)}
    assert related_judges(run / "dataset", judges) == {"same": (ROLES[stage],)}


def test_every_stage_that_asks_a_model_has_its_role() -> None:
    """Of the others three ask no model, imitation starts from the training's own, and four measure what it made."""
    without = {"images", "preferences", "dataset", "sft", "samples", "answers", "verdicts", "contests"}
    assert set(ROLES) == set(ALL_STAGES) - without


def test_a_judge_of_rules_is_known_by_its_kind(tmp_path: Path) -> None:
    rules = {"config": {"kind": "rules"}, "rules": "1", "model": None}
    run = run_with(tmp_path / "run", "labels", {"judge": rules})
    assert related_judges(run, {"mine": rules | {"rules": "2"}}) == {"mine": ("labelled its answers",)}


def test_data_of_nobody_knows_whom_relates_no_judge(tmp_path: Path) -> None:
    assert related_judges(tmp_path, {"same": {"model": SERVED}}) == {}
