"""The construction road on one page: from pictures to the dataset."""

from spavl.dataset import build_dataset
from spavl.embedded.sentences import sentence_encoder
from spavl.images import collect
from spavl.judges import open_judge
from spavl.models.prefill import check_prefill
from spavl.pipeline.road import Road, once
from spavl.preferences import (
    draw_comparisons,
    judge_comparisons,
    label_responses,
    resolve,
    safety_groups,
)
from spavl.questions import load_prompts, prompts_digest, write_questions
from spavl.records import ImageRecord, Judgment, PreferencePair, Question, Response, SafetyLabel
from spavl.responses import respond
from spavl.store import Manifest


async def build(road: Road) -> None:
    """Runs every construction stage that is not finished.

    Raises:
        UserError: An answer is begun for a server that is not said to continue it.
    """
    prompts = load_prompts(road.config.questions.prompts).values()
    check_prefill(road.config, openings=any(prompt.openings for prompt in prompts))
    images = await _collect(road)
    questions = await _ask(road, images)
    responses = await _respond(road, images, questions)
    pairs = await _compare(road, questions, responses)
    await _write(road, images, questions, pairs)


async def _collect(road: Road) -> dict[str, ImageRecord]:
    stage = road.stage("images", {"images": road.config.images, "taxonomy": road.taxonomy.fingerprint})

    async def station() -> Manifest:
        encode = sentence_encoder().encode
        return await collect(road.config.images, road.taxonomy, stage, road.pictures, encode, road.replay)

    await once(stage, station)
    return {image.id: image for image in stage.records(ImageRecord)}


async def _ask(road: Road, images: dict[str, ImageRecord]) -> dict[str, Question]:
    settings = road.config.questions
    writer = road.model_config(settings.writer)
    asked_with = {"questions": settings, "prompts": prompts_digest(settings.prompts), "writer": writer}
    stage = road.stage("questions", asked_with, "images")

    async def station() -> Manifest:
        writer = road.models[settings.writer]
        return await write_questions(settings, road.taxonomy, list(images.values()), road.shower(), writer, stage)

    await once(stage, station)
    return {question.id: question for question in stage.records(Question)}


async def _respond(road: Road, images: dict[str, ImageRecord], questions: dict[str, Question]) -> dict[str, Response]:
    splits = road.splits(list(images.values()))
    asked = [question for question in questions.values() if splits[question.image_id] != "test"]
    responders = road.config.responses.responders
    models = {one.model: road.model_config(one.model) for one in responders.values()}
    settings = {"responders": responders, "models": models, "dataset": road.config.dataset, "seed": road.config.seed}
    stage = road.stage("responses", settings, "questions")

    async def station() -> Manifest:
        return await respond(responders, asked, road.shower(), road.models.__getitem__, stage)

    await once(stage, station)
    return {response.id: response for response in stage.records(Response)}


async def _compare(road: Road, questions: dict[str, Question], responses: dict[str, Response]) -> list[PreferencePair]:
    config = road.config
    show = road.shower()
    listed = list(responses.values())
    labelled = road.stage("labels", {"judge": road.judge_config(config.labels.judge)}, "responses")
    safety = open_judge(config.labels.judge, road.models)
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


async def _write(
    road: Road, images: dict[str, ImageRecord], questions: dict[str, Question], pairs: list[PreferencePair]
) -> None:
    settings = {"dataset": road.config.dataset, "seed": road.config.seed}
    stage = road.stage("dataset", settings, "images", "questions", "preferences")
    pictures, asked = list(images.values()), list(questions.values())
    splits = road.splits(pictures)
    await once(stage, lambda: build_dataset(pictures, asked, pairs, splits, road.pictures, stage))
