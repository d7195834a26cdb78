"""The evaluation road: answers before and after on pictures that training never saw, verdicts, contests."""

import hashlib
import sys

from spavl.config import HfModelConfig
from spavl.evaluate import (
    answer_samples,
    benign_samples,
    harm_samples,
    hold_contests,
    judge_answers,
    naming_samples,
)
from spavl.dataset import assign_splits
from spavl.images import candidates
from spavl.judges import open_judge
from spavl.models import ImageInput
from spavl.pipeline.road import Road, once
from spavl.records import Answer, ImageRecord, Question, Sample
from spavl.store import UnreadableImage


async def evaluate(road: Road) -> None:
    """Runs every evaluation stage that is not finished."""
    samples = evaluation_samples(road)
    answers = await _answer(road, samples)
    await _judge(road, samples, answers)


def evaluation_samples(road: Road) -> list[Sample]:
    """Returns the run's samples: held-out harmful questions, benign contrasts, and pictures to name."""
    images = road.records("images", ImageRecord)
    splits = assign_splits(images, road.config.dataset, road.held_out_leaves(), road.config.seed)
    held_out = [question for question in road.records("questions", Question) if splits[question.image_id] == "test"]
    leaves = road.held_out_leaves()
    trained = {image.sha256 for image in images if splits[image.id] != "test"}
    named = naming_samples(_pictures_to_name(road, trained))
    return [*harm_samples(held_out, leaves), *benign_samples(held_out, leaves), *named]


async def _answer(road: Road, samples: list[Sample]) -> list[Answer]:
    config = road.config
    base = config.models[config.train.model]
    after = HfModelConfig(kind="hf", path=str(road.run.path / "train" / "model"), batch_size=base.batch_size)
    models = {"before": road.models[config.train.model], "after": road.models.open(after)}
    stage = road.stage("answers", {"evaluate": config.evaluate, "samples": [s.id for s in samples]}, "questions", "train")
    await once(stage, lambda: answer_samples(config.evaluate, models, samples, _shower(road), stage))
    return stage.records(Answer)


async def _judge(road: Road, samples: list[Sample], answers: list[Answer]) -> None:
    judge = open_judge(road.config.evaluate.judge, road.models)
    settings = {"judge": road.judge_config(road.config.evaluate.judge)}
    by_id = {sample.id: sample for sample in samples}
    verdicts = road.stage("verdicts", settings, "answers")
    await once(verdicts, lambda: judge_answers(judge, by_id, answers, _shower(road), verdicts))
    contests = road.stage("contests", settings, "answers")
    before, after = ({one.sample_id: one for one in answers if one.model == name} for name in ("before", "after"))
    await once(contests, lambda: hold_contests(judge, samples, before, after, _shower(road), contests))


def _pictures_to_name(road: Road, trained: set[str]) -> dict[str, tuple[str, ...]]:
    """Draws pictures by a seeded hash of their names and stores them; trained ones are passed over."""

    def place(name: str) -> str:
        return hashlib.sha256(f"{road.config.seed}/{name}".encode()).hexdigest()

    drawn: dict[str, tuple[str, ...]] = {}
    for candidate in sorted(candidates(road.config.images.source), key=lambda one: place(one.item)):
        if len(drawn) == road.config.evaluate.naming_pictures:
            break
        try:
            stored = road.pictures.add(candidate.path)
        except UnreadableImage as error:
            print(f"not used for naming: {error}", file=sys.stderr)
            continue
        if stored.sha256 not in trained:
            drawn[stored.sha256] = candidate.names
    return drawn


def _shower(road: Road):
    digests = {image.id: image.sha256 for image in road.records("images", ImageRecord)}

    def show(image_id: str) -> ImageInput:
        digest = digests.get(image_id, image_id)
        return ImageInput(sha256=digest, path=road.pictures.path(digest))

    return show
