"""The evaluation road: answers before and after on pictures that training never saw, verdicts, contests."""

import hashlib

from spavl.config import HfModelConfig, RunConfig
from spavl.dataset import benchmark_questions
from spavl.evaluate import (
    Condition,
    Decoding,
    answer_samples,
    benign_samples,
    harm_samples,
    hold_contests,
    judge_answers,
    naming_sample,
)
from spavl.images import NEEDS_REVIEW, Candidate, ExplicitGate, open_source
from spavl.judges import open_judge
from spavl.models.ask import outcome
from spavl.pipeline.road import Road, once
from spavl.records import Answer, Failure, ImageRecord, Sample
from spavl.store import Manifest, Outcome


async def evaluate(road: Road) -> None:
    """Runs every evaluation stage that is not finished."""
    samples = await _sample(road)
    answers = await _answer(road, samples)
    await _judge(road, samples, answers)


async def _sample(road: Road) -> list[Sample]:
    """Gathers the run's samples: held-out harmful questions, benign contrasts, and pictures to name."""
    config = road.config
    settings = {
        "pictures": config.evaluate.naming_pictures,
        "source": config.images.source,
        "remove": config.images.remove,
        "explicit": config.images.explicit,
        "dataset": config.dataset,
    }
    stage = road.stage("samples", settings | {"seed": config.seed}, "images", "checked_questions")
    images = road.records("images", ImageRecord)
    splits = road.splits()

    async def station() -> Manifest:
        questions = {name: list(some) for name, some in benchmark_questions(road.questions().values(), splits).items()}
        leaves = road.held_out_leaves()
        asked = [*harm_samples(questions["harm"], leaves), *benign_samples(questions["help"], leaves)]
        trained = {image.sha256 for image in images if splits[image.id] != "test"}
        outcomes = [*(outcome(sample.id, sample) for sample in asked), *await _pictures_to_name(road, trained)]
        pending = set(stage.pending(one.item for one in outcomes))
        stage.append([one for one in outcomes if one.item in pending])
        return stage.finish([one.item for one in outcomes])

    await once(stage, station)
    return stage.records(Sample)


async def _answer(road: Road, samples: list[Sample]) -> list[Answer]:
    config = road.config
    after = aligned(config)
    stage = road.stage("answers", {"evaluate": config.evaluate}, "samples", "train")
    models = {"before": road.models[config.train.model], "after": road.models.open(after)}
    show = road.shower()
    asked = Condition("", samples, lambda sample: show(sample.image_id))
    await once(stage, lambda: answer_samples(Decoding(config.evaluate.max_tokens), models, [asked], stage))
    return stage.records(Answer)


def aligned(config: RunConfig) -> HfModelConfig:
    """Returns the aligned model's configuration: that of its base, with the weights that training made."""
    base = config.models[config.train.model]
    settings = base.model_dump(include={"dtype", "device", "batch_size"})
    return HfModelConfig(kind="hf", path=str(config.run / "train" / "model"), **settings)


async def _judge(road: Road, samples: list[Sample], answers: list[Answer]) -> None:
    judge = open_judge(road.config.evaluate.judge, road.models)
    settings = {"judge": road.judge_config(road.config.evaluate.judge)}
    by_id = {sample.id: sample for sample in samples}
    show = road.shower()
    verdicts = road.stage("verdicts", settings, "samples", "answers")
    await once(verdicts, lambda: judge_answers(judge, by_id, answers, show, verdicts))
    compares = {"judge": road.judge_config(road.config.evaluate.judge, compares=True)}
    contests = road.stage("contests", compares, "samples", "answers")
    before, after = ({one.sample_id: one for one in answers if one.model == name} for name in ("before", "after"))
    await once(contests, lambda: hold_contests(judge, samples, before, after, show, contests))


async def _pictures_to_name(road: Road, trained: set[str]) -> list[Outcome]:
    """Draws pictures by a seeded hash of their names and stores them; passed over are those trained on or explicit."""

    def place(candidate: Candidate) -> str:
        return hashlib.sha256(f"{road.config.seed}/{candidate.item}".encode()).hexdigest()

    left = road.config.evaluate.naming_pictures
    outcomes: list[Outcome] = []
    async with open_source(road.config.images, road.config.run, road.replay) as album:
        candidates, gate = album.candidates, ExplicitGate(road.config.images.explicit, album.lists.released)
        order = sorted(range(len(candidates)), key=lambda index: place(candidates[index]))
        for start, index in enumerate(order):
            if left == 0:
                break
            album.expect(order[start : start + left])
            candidate, opened = candidates[index], await album.read(index, road.pictures)
            if isinstance(opened, Failure):
                outcomes.append(Outcome(candidate.item, failure=opened))
            elif opened.read.stored.sha256 in trained:
                continue
            elif gate.holds_back(opened, gate.score(opened)):
                waits = Failure(reason=NEEDS_REVIEW, message=f"{candidate.name}: may be explicit", dropped=True)
                outcomes.append(Outcome(candidate.item, failure=waits))
            else:
                left -= 1
                road.pictures.keep(opened.read)
                outcomes.append(outcome(candidate.item, naming_sample(opened.read.stored.sha256, candidate.names)))
    return outcomes
