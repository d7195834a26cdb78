"""What the evaluation asks about: never a picture that was trained on."""

import asyncio
from pathlib import Path

import pytest
from tests.report.finished_run import draw_picture
from tests.tiny_picture_models import build_classifier

from spavl.config import RunConfig
from spavl.dataset import assign_splits
from spavl.errors import UserError
from spavl.image_config import ExplicitConfig
from spavl.models import CallStore, open_models
from spavl.pipeline import evaluate
from spavl.pipeline.road import Road
from spavl.records import ImageRecord, Sample
from spavl.store import ImageStore, Outcome, RunDirectory
from spavl.taxonomy import load_taxonomy

COLLECTED = 6


@pytest.fixture
def road(tmp_path: Path) -> Road:
    """A run whose source has eight pictures, of which six were collected for one leaf; no question was written."""
    (tmp_path / "pictures").mkdir()
    config = RunConfig.model_validate(
        {
            "run": tmp_path / "run",
            "models": {"mini": {"kind": "embedded"}},
            "images": {"source": {"kind": "folder", "path": tmp_path / "pictures"}},
            "questions": {"writer": "mini"},
            "responses": {"responders": {"a": {"model": "mini"}, "b": {"model": "mini", "system": "s"}}},
            "dataset": {"test_fraction": 0.5, "validation_fraction": 0.2},
            "train": {"model": "mini"},
        }
    )
    run, pictures = RunDirectory(config.run), ImageStore(config.run / "pictures")
    leaf = load_taxonomy("spa_vl").leaf("theft")
    paths = [draw_picture(tmp_path / "pictures" / f"shapes {number}.png", number) for number in range(COLLECTED + 2)]
    images = [
        ImageRecord(
            **pictures.add(path)._asdict(),
            caption=path.stem,
            source="pictures",
            source_name=path.name,
            licence="CC0",
            leaf=leaf.path,
            keyword=leaf.keywords[0],
            similarity=1.0,
        )
        for path in paths[:COLLECTED]
    ]
    collected = run.stage("images", {})
    collected.append([Outcome(image.id, record=image) for image in images])
    collected.finish([image.id for image in images])
    for name in ("questions", "checked_questions"):
        run.stage(name, {}, ["images"]).finish([])
    models = open_models(config.models, CallStore(tmp_path / "calls.sqlite"))
    return Road(config, run, load_taxonomy("spa_vl"), pictures, models)


def test_pictures_to_name_are_those_of_the_test_split_and_those_never_collected(road: Road) -> None:
    """Of six collected pictures half are for the test, one for validation, two for training: 3 + 2 are named."""
    images = road.records("images", ImageRecord)
    splits = assign_splits(images, road.config.dataset, (), road.config.seed)
    kept = {image.sha256 for image in images if splits[image.id] == "test"}
    trained = {image.sha256 for image in images if splits[image.id] != "test"}
    with pytest.raises(UserError, match="Stage train"):  # the samples are made before it is asked for
        asyncio.run(evaluate(road))
    named = {sample.image_id for sample in road.records("samples", Sample)}
    assert len(kept) == len(trained) == 3
    assert kept <= named and not trained & named
    assert len(named) == 5


def test_pictures_that_people_should_see_first_are_not_named(road: Road, tmp_path: Path) -> None:
    """From a probability of 0 on every picture is held back: the five that would be named."""
    folder = build_classifier(tmp_path / "classifier", ("harmless", "explicit"))
    explicit = ExplicitConfig(path=str(folder), labels=("explicit",), threshold=0)
    images = road.config.images.model_copy(update={"explicit": explicit})
    road = road._replace(config=road.config.model_copy(update={"images": images}))
    with pytest.raises(UserError, match="Stage train"):
        asyncio.run(evaluate(road))
    manifest = road.run.manifests(["samples"])["samples"]
    assert (manifest.counts.records, manifest.counts.by_reason) == (0, {"needs_review": 5})
