"""Which judges had a part in the training data: told by their weights, served names or rules, not by their aliases."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

ROLES: Mapping[str, str] = {
    "captions": "described its pictures",
    "questions": "wrote its questions",
    "checked_questions": "checked its questions",
    "responses": "answered its questions",
    "labels": "labelled its answers",
    "judgments": "judged its preferences",
    "opinions": "labelled its answers too",
    "reward": "was in its reward model",
    "train": "was in the training",
}
"""Stage of a run -> what a model that stands in its settings did."""


def related_judges(training: Path, judges: Mapping[str, object]) -> dict[str, tuple[str, ...]]:
    """Returns judge -> what it, or its model, did for the training data; those that did nothing are left out.

    Args:
        training: A run, or its dataset's folder; of other data nobody says who made it.
        judges: Judge -> its identity as a stage's settings have it.
    """
    run = training.parent if training.name == "dataset" else training
    had = {role: set(_marks(_settings(run / stage))) for stage, role in ROLES.items()}
    found = {name: set(_marks(json.loads(json.dumps(settings)))) for name, settings in judges.items()}
    parts = {name: tuple(role for role, marks in had.items() if marks & own) for name, own in found.items()}
    return {name: roles for name, roles in parts.items() if roles}


def _settings(stage: Path) -> object:
    path = stage / "identity.json"
    return json.loads(path.read_text(encoding="utf-8"))["config"] if path.is_file() else None


def _marks(settings: object) -> Iterator[str]:
    """Yields what tells a model or a judge of rules wherever it stands: its weights, its published name, its kind."""
    if isinstance(settings, dict):
        if "fingerprint" in settings:
            yield json.dumps(settings["fingerprint"], sort_keys=True)
            yield from _names(settings["config"])
        if settings.keys() >= {"rules", "model", "config"} and settings["model"] is None:
            yield f"kind {settings['config']['kind']}"
        settings = list(settings.values())
    if isinstance(settings, list):
        for one in settings:
            yield from _marks(one)


def _names(model: Mapping[str, str]) -> Iterator[str]:
    """Yields a served model's name, or a hub id, without its owner, in small letters; a folder's says nothing."""
    name = model.get("model") or model.get("path")
    if name and not Path(name).expanduser().is_dir():
        yield f"name {name.rstrip('/').rpartition('/')[2].casefold()}"
