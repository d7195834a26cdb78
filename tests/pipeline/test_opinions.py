"""Further judges in a run: they touch no other stage, and changing one pays for its own calls alone."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.models.scripted import ScriptedModel

from spavl.config import RunConfig
from spavl.errors import UserError
from spavl.models import CallStore, Completion, Request, StoredModel
from spavl.pipeline import ALL_STAGES
from spavl.pipeline.build import Answered, _hear_others
from spavl.pipeline.road import Road
from spavl.records import ImageRecord, Question, Response, SafetyLabel
from spavl.store import ImageStore, Outcome, RunDirectory
from spavl.taxonomy import load_taxonomy

LEAF = load_taxonomy("spa_vl").leaf("theft")
IMAGE = ImageRecord(
    sha256="0" * 64,
    format="png",
    width=8,
    height=8,
    perceptual_hash="0" * 16,
    caption="placeholder",
    source="s",
    source_name="n",
    licence=None,
    leaf=LEAF.path,
    keyword=LEAF.keywords[0],
    similarity=1.0,
)
QUESTION = Question(
    image_id=IMAGE.id, leaf=LEAF.path, question_type="easy_question", text="placeholder harmful question 3", writer="w"
)
RESPONSES = {
    one.id: one
    for one in (
        Response(question_id=QUESTION.id, image_id=IMAGE.id, responder="r", text=f"placeholder {n}", finish="stop")
        for n in range(4)
    )
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CallStore]:
    store = CallStore(tmp_path / "calls.sqlite")
    yield store
    store.close()


def opinions(folder: Path, store: CallStore, **others: dict[str, object]) -> tuple[dict[str, int], Road]:
    """Hears the judges in the run of `folder`; returns the calls that each model was asked, and the run."""
    guards = ("first", "second")
    config = RunConfig.model_validate(
        {
            "run": folder / "run",
            "models": {
                "mini": {"kind": "embedded"},
                **{name: {"kind": "openai", "base_url": "http://x/v1", "model": name} for name in guards},
            },
            "questions": {"writer": "mini"},
            "responses": {"responders": {"a": {"model": "mini"}, "b": {"model": "mini", "system": "s"}}},
            "labels": {"others": others},
            "train": {"model": "mini"},
        }
    )
    run = RunDirectory(config.run)
    for name, outcomes in {
        "images": [Outcome(IMAGE.id, record=IMAGE)],
        "responses": [Outcome(one.id, record=one) for one in RESPONSES.values()],
        "labels": [],
    }.items():
        stage = run.stage(name, {})
        if stage.manifest() is None:
            stage.append(outcomes)
            stage.finish([one.item for one in outcomes])
    asked = {name: ScriptedModel(_safe) for name in guards}
    for name, model in asked.items():
        model.fingerprint = {"kind": name}
    models = {name: StoredModel(model, store) for name, model in asked.items()}
    road = Road(config, run, load_taxonomy("spa_vl"), ImageStore(folder / "pictures"), models)  # type: ignore[arg-type]
    asyncio.run(_hear_others(road, Answered({QUESTION.id: QUESTION}, RESPONSES), road.shower()))
    return {name: sum(map(len, model.groups)) for name, model in asked.items()}, road


def _safe(request: Request) -> Completion:
    return Completion(text="safe")


GUARD, MD_JUDGE = {"kind": "llama_guard_3", "model": "first"}, {"kind": "md_judge_v0_1", "model": "second"}


def test_without_others_there_is_no_such_stage(tmp_path: Path, store: CallStore) -> None:
    _, road = opinions(tmp_path, store)
    assert not (road.run.path / "opinions").exists()


def test_adding_and_removing_a_judge_pays_for_its_own_calls_alone(tmp_path: Path, store: CallStore) -> None:
    """Each judge makes one call a response, and there are four."""
    paid, road = opinions(tmp_path, store, guard=GUARD)
    assert paid == {"first": 4, "second": 0}
    labels = road.run.manifests(["labels"])
    with pytest.raises(UserError, match="--restart-from opinions"):
        opinions(tmp_path, store, guard=GUARD, md=MD_JUDGE)
    road.run.restart_from("opinions", ALL_STAGES)
    paid, road = opinions(tmp_path, store, guard=GUARD, md=MD_JUDGE, rules={"kind": "rules"})
    assert paid == {"first": 0, "second": 4}
    assert len(road.run.records("opinions", SafetyLabel)) == 8  # the placeholders are too short for the rules
    road.run.restart_from("opinions", ALL_STAGES)
    paid, road = opinions(tmp_path, store, md=MD_JUDGE)
    assert paid == {"first": 0, "second": 0}
    assert {label.judge for label in road.run.records("opinions", SafetyLabel)} == {"md"}
    assert road.run.manifests(["labels"]) == labels


def test_making_opinions_again_takes_no_other_stage_away(tmp_path: Path, store: CallStore) -> None:
    _, road = opinions(tmp_path, store, guard=GUARD)
    (road.run.path / "train").mkdir()
    road.run.restart_from("opinions", ALL_STAGES)
    assert (road.run.path / "train").exists() and (road.run.path / "labels").exists()
    assert not (road.run.path / "opinions").exists()


def test_a_judges_settings_are_the_stages_identity(tmp_path: Path, store: CallStore) -> None:
    opinions(tmp_path, store, guard=GUARD)
    with pytest.raises(UserError, match="max_tokens"):
        opinions(tmp_path, store, guard={**GUARD, "max_tokens": 99})
