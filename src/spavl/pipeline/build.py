"""The construction road on one page: from pictures to the dataset."""

from collections.abc import Sequence

from spavl.dataset import Material, build_dataset
from spavl.embedded.sentences import sentence_encoder
from spavl.images import CaptionOutcomes, caption_prompt_digest, collect, write_captions
from spavl.judges import open_judge, open_safety_judge
from spavl.judges.question_rubric import HARMFULNESS, RELEVANCE
from spavl.models import picture_models_fingerprint
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
from spavl.responses import respond
from spavl.store import Manifest
from spavl.texts.near import check_minhash


async def build(road: Road) -> None:
    """Runs every construction stage that is not finished.

    Raises:
        UserError: An answer is begun for a server that is not said to continue it, or a package is missing.
    """
    check_prefill(road.config, openings=begins_questions(road.config.questions))
    if road.config.checks.near_duplicates:
        check_minhash("checks.near_duplicates")
    images = await _collect(road)
    captions = await _caption(road, images)
    await _ask(road, images, captions)
    questions = await _check(road)
    responses = await _respond(road, images, questions)
    pairs = await _compare(road, questions, responses)
    checks = road.records("checked_questions", QuestionCheck)
    await _write(road, Material(list(images.values()), list(questions.values()), pairs, captions, checks))
    await _hear_others(road, questions, responses)


async def _collect(road: Road) -> dict[str, ImageRecord]:
    asked_with: dict[str, object] = {"images": road.config.images, "taxonomy": road.taxonomy.fingerprint}
    stage = road.stage("images", asked_with | picture_models_fingerprint(road.config.images))

    async def station() -> Manifest:
        encode = sentence_encoder().encode
        return await collect(road.config.images, road.taxonomy, stage, road.pictures, encode, road.replay)

    await once(stage, station)
    return {image.id: image for image in stage.records(ImageRecord)}


async def _caption(road: Road, images: dict[str, ImageRecord]) -> CaptionOutcomes:
    config = road.config.captions
    asked_with: dict[str, object] = {"captions": config}
    if config.writer is not None:
        asked_with |= {"writer": road.model_config(config.writer), "prompt": caption_prompt_digest(config.prompt)}
    stage = road.stage("captions", asked_with, "images")
    listed, show, models = list(images.values()), road.shower(), road.models
    await once(stage, lambda: write_captions(config, listed, show, models.__getitem__, stage))
    return road.captions()


async def _ask(road: Road, images: dict[str, ImageRecord], captions: CaptionOutcomes) -> None:
    settings = road.config.questions
    asked_with = {"questions": settings, "prompts": prompts_digest(settings)}
    stage = road.stage("questions", asked_with | {"writer": road.model_config(settings.writer)}, "images", "captions")
    subjects = [Subject(image, caption_of(image, captions)) for image in images.values()]

    async def station() -> Manifest:
        writer = road.models[settings.writer]
        return await write_questions(settings, road.taxonomy, subjects, road.shower(), writer, stage)

    await once(stage, station)


def caption_of(image: ImageRecord, captions: CaptionOutcomes) -> str:
    """Returns what is said of a picture to who writes about it: the written caption, or its source's."""
    written = captions.get(image.id)
    return written.text if isinstance(written, Caption) else image.caption


async def _check(road: Road) -> dict[str, Question]:
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
    written, show, models = road.records("questions", Question), road.shower(), road.models
    await once(stage, lambda: check_questions(config, road.taxonomy, written, show, models.__getitem__, stage))
    return {question.id: question for question in road.questions()}


async def _respond(road: Road, images: dict[str, ImageRecord], questions: dict[str, Question]) -> dict[str, Response]:
    asked = asked_questions(road, list(images.values()), list(questions.values()))
    responders = road.config.responses.responders
    models = {one.model: road.model_config(one.model) for one in responders.values()}
    settings = {"responders": responders, "models": models, "dataset": road.config.dataset, "seed": road.config.seed}
    stage = road.stage("responses", settings, "checked_questions")

    async def station() -> Manifest:
        return await respond(responders, asked, road.shower(), road.models.__getitem__, stage)

    await once(stage, station)
    return {response.id: response for response in stage.records(Response)}


def asked_questions(road: Road, images: Sequence[ImageRecord], questions: Sequence[Question]) -> list[Question]:
    """Returns the questions that responders are asked: those about pictures that are not kept for the test."""
    splits = road.splits(images)
    return [question for question in questions if splits[question.image_id] != "test"]


async def _compare(road: Road, questions: dict[str, Question], responses: dict[str, Response]) -> list[PreferencePair]:
    config = road.config
    show = road.shower()
    listed = list(responses.values())
    labelled = road.stage("labels", {"judge": road.judge_config(config.labels.judge)}, "responses")
    safety = open_safety_judge(config.labels.judge, road.models)
    labelling = await once(labelled, lambda: label_responses(safety, questions, listed, show, labelled))
    labels = labelled.records(SafetyLabel)

    groups = safety_groups(labelling.facts["safe_rates"], config.preferences.groups)
    drawn = draw_comparisons(listed, groups, config.preferences.comparisons_per_question, config.seed)
    settings = {"preferences": config.preferences, "judge": road.judge_config(config.preferences.judge)}
    judged = road.stage("judgments", settings | {"seed": config.seed}, "responses", "labels")
    judge = open_judge(config.preferences.judge, road.models)
    await once(judged, lambda: judge_comparisons(judge, questions, responses, drawn, show, judged))

    resolved = road.stage("preferences", {}, "judgments", "labels")
    await once(resolved, lambda: resolve(drawn, judged.records(Judgment), questions, responses, labels, resolved))
    return resolved.records(PreferencePair)


async def _write(road: Road, material: Material) -> None:
    settings = {"dataset": road.config.dataset, "seed": road.config.seed}
    stage = road.stage("dataset", settings, "images", "captions", "checked_questions", "preferences")
    splits = road.splits(material.images)
    await once(stage, lambda: build_dataset(material, splits, road.pictures, stage))


async def _hear_others(road: Road, questions: dict[str, Question], responses: dict[str, Response]) -> None:
    """Has the judges heard that decide nothing; nothing is made from this stage, so it comes last."""
    others = road.config.labels.others
    if not others:
        return
    stage = road.stage(OPINIONS, {name: road.judge_config(one) for name, one in others.items()}, "responses")
    listed, show = list(responses.values()), road.shower()

    async def station() -> Manifest:
        judges = {name: open_safety_judge(one, road.models) for name, one in others.items()}
        return await hear_opinions(judges, questions, listed, show, stage)

    await once(stage, station)
