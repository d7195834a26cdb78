"""The construction road on one page: from pictures to the dataset."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from spavl.dataset import Material, build_dataset
from spavl.embedded.sentences import encoder_apart
from spavl.execution import LazyItems
from spavl.images import (
    CaptionOutcomes,
    caption_prompt_digest,
    collect,
    load_caption_prompt,
    say_collected,
    write_captions,
)
from spavl.judges import open_judge, open_safety_judge
from spavl.judges.question_rubric import HARMFULNESS, RELEVANCE
from spavl.models import ImageInput, picture_models_fingerprint
from spavl.models.prefill import check_prefill
from spavl.pipeline.road import OPINIONS, Road, once
from spavl.preferences import (
    draw_comparisons,
    hear_opinions,
    judge_comparisons,
    label_responses,
    resolve,
    safety_groups,
)
from spavl.questions import Subject, begins_questions, check_questions, prompts_digest, write_questions
from spavl.records import Caption, ImageRecord, Judgment, PreferencePair, Question, QuestionCheck, Response, SafetyLabel
from spavl.responses import respond, say_unanswering
from spavl.store import Manifest, Shelf
from spavl.texts.near import check_minhash

Show = Callable[[str], ImageInput]
"""Image id -> the picture."""


async def build(road: Road) -> None:
    """Runs every construction stage that is not finished.

    Between stations travel shelves, so that of what lies upstream only places are in memory.

    Raises:
        UserError: An answer is begun for a server that is not said to continue it, a package is missing, or a prompt
            file is missing or wrong.
    """
    check_prefill(road.config, openings=begins_questions(road.config.questions))
    load_caption_prompt(road.config.captions.prompt)
    if road.config.checks.near_duplicates:
        check_minhash("checks.near_duplicates")
    images = await _collect(road)
    show = road.shower()
    captions = await _caption(road, images, show)
    await _ask(road, images, captions, show)
    questions = await _check(road, show)
    answered = await _respond(road, questions, show)
    pairs = await _compare(road, answered, show)
    checks = road.run.shelf("checked_questions", QuestionCheck)
    await _write(road, Material(images, questions.values(), pairs.values(), captions, checks.values()))
    await _hear_others(road, answered, show)


async def _collect(road: Road) -> Shelf[ImageRecord]:
    asked_with: dict[str, object] = {"images": road.config.images, "taxonomy": road.taxonomy.fingerprint}
    stage = road.stage("images", asked_with | picture_models_fingerprint(road.config.images))

    async def station() -> Manifest:
        with encoder_apart() as encode:
            return await collect(road.config.images, road.taxonomy, stage, road.pictures, encode, road.replay)

    if stage.manifest() is not None:
        say_collected(stage)
    await once(stage, station)
    return road.images()


async def _caption(road: Road, images: Mapping[str, ImageRecord], show: Show) -> CaptionOutcomes:
    config = road.config.captions
    asked_with: dict[str, object] = {"captions": config}
    if config.writer is not None:
        asked_with |= {"writer": road.model_config(config.writer), "prompt": caption_prompt_digest(config.prompt)}
    stage, models = road.stage("captions", asked_with, "images"), road.models
    await once(stage, lambda: write_captions(config, images, show, models.__getitem__, stage))
    return road.captions()


async def _ask(road: Road, images: Mapping[str, ImageRecord], captions: CaptionOutcomes, show: Show) -> None:
    settings = road.config.questions
    asked_with = {"questions": settings, "prompts": prompts_digest(settings)}
    stage = road.stage("questions", asked_with | {"writer": road.model_config(settings.writer)}, "images", "captions")
    subjects = subjects_of(images, captions)

    async def station() -> Manifest:
        return await write_questions(settings, road.taxonomy, subjects, show, road.models[settings.writer], stage)

    await once(stage, station)


def subjects_of(images: Mapping[str, ImageRecord], captions: CaptionOutcomes) -> LazyItems[Subject]:
    """Returns image id -> the picture, and what is said of it to who writes about it: the caption, or its source's."""

    def subject(name: str) -> Subject:
        image, written = images[name], captions.get(name)
        return Subject(image, written.text if isinstance(written, Caption) else image.caption)

    return LazyItems(len(images), lambda: iter(images), subject)


async def _check(road: Road, show: Show) -> Shelf[Question]:
    config = road.config.checks
    judges = {
        name: {"rubric": rubric.fingerprint, "model": road.model_config(judged.model)}
        for name, rubric, judged in (
            ("harmfulness", HARMFULNESS, config.harmfulness),
            ("relevance", RELEVANCE, config.relevance),
        )
        if judged is not None
    }
    stage = road.stage("checked_questions", {"checks": config, "judges": judges}, "questions")
    written, models = road.run.shelf("questions", Question), road.models
    await once(stage, lambda: check_questions(config, road.taxonomy, written, show, models.__getitem__, stage))
    return road.questions()


class Answered(NamedTuple):
    """Questions and their responses, by id."""

    questions: Mapping[str, Question]
    responses: Mapping[str, Response]


async def _respond(road: Road, questions: Mapping[str, Question], show: Show) -> Answered:
    responders = road.config.responses.responders
    models = {one.model: road.model_config(one.model) for one in responders.values()}
    settings = {"responders": responders, "models": models, "dataset": road.config.dataset, "seed": road.config.seed}
    stage = road.stage("responses", settings, "checked_questions")

    async def station() -> Manifest:
        return await respond(responders, asked_questions(road), show, road.models.__getitem__, stage)

    say_unanswering(stage, await once(stage, station))
    return Answered(questions, road.run.shelf("responses", Response))


def asked_questions(road: Road) -> Shelf[Question]:
    """Returns the questions that responders are asked: those about pictures that are not kept for the test."""
    splits = road.splits()
    return road.questions(lambda question: splits[question["image_id"]] != "test")


async def _compare(road: Road, answered: Answered, show: Show) -> Shelf[PreferencePair]:
    config, (questions, responses) = road.config, answered
    labelled = road.stage("labels", {"judge": road.judge_config(config.labels.judge)}, "responses")
    safety = open_safety_judge(config.labels.judge, road.models)
    labelling = await once(labelled, lambda: label_responses(safety, questions, responses, show, labelled))

    groups = safety_groups(labelling.facts["safe_rates"], config.preferences.groups)
    drawn = draw_comparisons(responses.values(), groups, config.preferences.comparisons_per_question, config.seed)
    settings = {"preferences": config.preferences, "judge": road.judge_config(config.preferences.judge, compares=True)}
    judged = road.stage("judgments", settings | {"seed": config.seed}, "responses", "labels")
    judge = open_judge(config.preferences.judge, road.models)
    await once(judged, lambda: judge_comparisons(judge, questions, responses, drawn, show, judged))

    resolved = road.stage("preferences", {}, "judgments", "labels")
    judgments = road.run.shelf("judgments", Judgment, by="comparison_id")
    labels = road.run.shelf("labels", SafetyLabel, by="response_id")
    await once(resolved, lambda: resolve(drawn, judgments, questions, responses, labels, resolved))
    return road.run.shelf("preferences", PreferencePair)


async def _write(road: Road, material: Material) -> None:
    settings = {"dataset": road.config.dataset, "seed": road.config.seed}
    stage = road.stage("dataset", settings, "images", "captions", "checked_questions", "preferences")
    await once(stage, lambda: build_dataset(material, road.splits(), road.pictures, stage))


async def _hear_others(road: Road, answered: Answered, show: Show) -> None:
    """Has the judges heard that decide nothing; nothing is made from this stage, so it comes last."""
    others = road.config.labels.others
    if not others:
        return
    stage = road.stage(OPINIONS, {name: road.judge_config(one) for name, one in others.items()}, "responses")

    async def station() -> Manifest:
        judges = {name: open_safety_judge(one, road.models) for name, one in others.items()}
        return await hear_opinions(judges, *answered, show, stage)

    await once(stage, station)
