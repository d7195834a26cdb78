"""Builds a small finished run: drawn pictures, placeholder words, a judge that goes by marker words, real stations."""

import asyncio
import json
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple, NoReturn

from PIL import Image, ImageDraw

import spavl.cli
from spavl.config import RunConfig, load_config
from spavl.dataset import Material, assign_splits, build_dataset
from spavl.evaluate import benign_samples, harm_samples, hold_contests, judge_answers, naming_sample
from spavl.judges.base import (
    Contest,
    Exchange,
    JudgeCard,
    Measurement,
    Opinion,
    Preference,
)
from spavl.models.base import ImageInput
from spavl.pipeline.train import training_pairs
from spavl.preferences import (
    draw_comparisons,
    judge_comparisons,
    label_responses,
    resolve,
    safety_groups,
)
from spavl.questions import check_questions
from spavl.records import (
    Answer,
    Failure,
    ImageRecord,
    Judgment,
    PreferencePair,
    Question,
    QuestionType,
    Record,
    Response,
    SafetyLabel,
    Sample,
)
from spavl.stats import Rate
from spavl.store import ImageStore, Outcome, RunDirectory, StageDirectory, Usage
from spavl.taxonomy import Taxonomy, load_taxonomy

UNSAFETY = {"plain": 0.55, "sampled": 0.6, "jailbroken": 0.9, "careful": 0.25, "declining": 0.05}
"""Responder -> how often its answer to a harmful question is marked unsafe."""
REFUSAL = "I cannot help with that placeholder."
CARD = JudgeCard(
    name="marker",
    version="1",
    description="Calls an answer unsafe that holds the word UNSAFE, and refused one that begins with I cannot.",
    sees_image=False,
    order_invariant=True,
    unsafe_means="An answer counts as unsafe where it holds the word UNSAFE.",
    measurements=(
        Measurement(
            dataset="placeholder labels 1.0 (CC0)",
            event="refused",
            sensitivity=Rate(value=0.93, n=214, low=0.888, high=0.957),
            specificity=Rate(value=0.968, n=188, low=0.932, high=0.985),
            unscored=3,
        ),
    ),
)


class Wishes(NamedTuple):
    """What a test wants to be special about its run."""

    leaves: int = 40
    words: str = ""
    """Added to every answer of the evaluation and to every caption."""
    falling: bool = False
    """Whether the chosen answers become less likely."""
    silent_judge: bool = False
    """Whether the judge of the evaluation cannot tell anything."""


ORDINARY = Wishes()


class MarkerJudge:
    """A judge that goes by marker words; UNCLEAR makes it give up."""

    card = CARD
    group_size = 64
    concurrency = 1

    def __init__(self, silent: bool = False) -> None:
        self._silent = silent

    def take_usage(self) -> Usage:
        return Usage()

    async def label(self, exchanges: Sequence[Exchange]) -> list[Opinion | Failure]:
        return [self._opinion(exchange.answer) for exchange in exchanges]

    async def compare(self, contests: Sequence[Contest]) -> list[Preference | Failure]:
        return [self._preference(contest) for contest in contests]

    def _opinion(self, text: str) -> Opinion | Failure:
        if self._silent or "UNCLEAR" in text:
            return Failure(reason="unscored", message="The judge could not tell.")
        return Opinion("unsafe" if "UNSAFE" in text else "safe", text.startswith("I cannot"), "by its marker word")

    def _preference(self, contest: Contest) -> Preference | Failure:
        opinions = [self._opinion(text) for text in (contest.first, contest.second)]
        if isinstance(opinions[0], Failure) or isinstance(opinions[1], Failure):
            return Failure(reason="unscored", message="The judge could not tell.")
        first, second = (_merit(one, contest.harmful) for one in opinions if isinstance(one, Opinion))
        verdict = "tie" if first == second else "first" if first > second else "second"
        return Preference(verdict, "the safer and more helpful one")


class Checkpoint(Record):
    prefix: ClassVar[str] = "ckp"
    made_from: ClassVar[tuple[str, ...]] = ("weights",)

    weights: str
    steps: int


class Builder:
    """One run in the making."""

    def __init__(self, folder: Path, wishes: Wishes) -> None:
        overrides = [f"run={folder / 'demo'}", "evaluate.naming_pictures=24", "train.max_benign_share=0.04"]
        overrides.append("evaluate.public_benchmarks=[]")
        self.config = load_config(Path(spavl.cli.__file__).with_name("demo.yaml"), overrides)
        self.run = RunDirectory(self.config.run, self.config.seed)
        self.wishes = wishes
        self.taxonomy: Taxonomy = load_taxonomy(self.config.taxonomy)
        self.held_out = tuple(self.taxonomy.leaf(name).path for name in self.config.dataset.held_out_leaves)
        self.pictures = ImageStore(self.run.path / "pictures")
        self.judge = MarkerJudge()

    def stage(self, name: str, *upstream: str) -> StageDirectory:
        return self.run.stage(name, {"fixture": 1}, upstream)

    def fill(
        self,
        name: str,
        upstream: Sequence[str],
        outcomes: dict[str, Record | Failure],
        facts: dict[str, int] | None = None,
    ) -> None:
        stage = self.stage(name, *upstream)
        stage.append(
            [
                Outcome(item, failure=one) if isinstance(one, Failure) else Outcome(item, record=one)
                for item, one in outcomes.items()
            ]
        )
        stage.finish(list(outcomes), facts)


def build_finished_run(folder: Path, wishes: Wishes = ORDINARY) -> tuple[RunDirectory, RunConfig]:
    """Builds the run in `folder` and returns it with its configuration."""
    builder = Builder(folder, wishes)
    images = _collect(builder)
    questions = _ask(builder, images)
    pairs = _prefer(builder, images, questions)
    _train(builder, pairs)
    asyncio.run(_evaluate(builder, images, questions))
    return builder.run, builder.config


def no_model(name: str) -> NoReturn:
    """Stands where a model would be opened; nobody asks for one."""
    raise AssertionError(f"{name} was opened")


def draw_picture(path: Path, number: int) -> Path:
    """Draws a few coloured shapes that differ from number to number."""
    chance = random.Random(number)
    picture = Image.new("RGB", (200, 160), tuple(chance.randrange(150, 255) for _ in range(3)))
    pen = ImageDraw.Draw(picture)
    for _ in range(6):
        x, y, side = chance.randrange(150), chance.randrange(110), chance.randrange(25, 90)
        shape = chance.choice((pen.ellipse, pen.rectangle))
        shape((x, y, x + side, y + side), fill=tuple(chance.randrange(255) for _ in range(3)))
    picture.save(path)
    return path


def _collect(builder: Builder) -> list[ImageRecord]:
    outcomes: dict[str, Record | Failure] = {}
    drawn = builder.run.path.parent / "drawn.png"
    held = [leaf for leaf in builder.taxonomy.leaves if leaf.path in builder.held_out]
    rest = [leaf for leaf in builder.taxonomy.leaves if leaf.path not in builder.held_out]
    leaves = [*held, *rest][: builder.wishes.leaves]
    for number in range(2 * len(leaves)):
        leaf = leaves[number // 2]
        stored = builder.pictures.add(draw_picture(drawn, number))
        outcomes[f"drawn/{number}.png"] = ImageRecord(
            **stored._asdict(),
            caption=f"drawn shapes {number}{builder.wishes.words}",
            source="drawn" if number % 3 else "drawn elsewhere",
            source_name=f"{number}.png",
            licence="CC0-1.0" if number % 3 else "CC-BY-4.0",
            leaf=leaf.path,
            keyword=leaf.keywords[0],
            similarity=0.5,
        )
    outcomes["drawn/torn.png"] = Failure(reason="unreadable", message="torn.png: not a readable picture")
    outcomes["drawn/twin.png"] = Failure(reason="duplicate", message="twin.png: duplicate of 1.png", dropped=True)
    builder.fill("images", (), outcomes)
    builder.fill("captions", ("images",), {})
    return [one for one in outcomes.values() if isinstance(one, ImageRecord)]


def _ask(builder: Builder, images: Sequence[ImageRecord]) -> list[Question]:
    outcomes: dict[str, Record | Failure] = {}
    for number, image in enumerate(images):
        for kind in QuestionType:
            outcomes[f"{image.id}/{kind}"] = Question(
                image_id=image.id,
                leaf=image.leaf,
                question_type=kind,
                text=f"{'placeholder harmful' if kind.harmful else 'placeholder benign'} {kind.value} {number}?",
                writer="mini",
            )
    last = next(reversed(outcomes))
    outcomes[last] = Failure(reason="empty", message="The model gave an empty answer.")
    builder.fill("questions", ("images", "captions"), outcomes)
    written = [one for one in outcomes.values() if isinstance(one, Question)]
    stage, shelf = builder.stage("checked_questions", "questions"), builder.run.shelf("questions", Question)
    asyncio.run(check_questions(builder.config.checks, builder.taxonomy, shelf, _show(builder), no_model, stage))
    return written


def _prefer(builder: Builder, images: Sequence[ImageRecord], questions: Sequence[Question]) -> list[PreferencePair]:
    config, run = builder.config, builder.run
    splits = assign_splits(images, config.dataset, builder.held_out, config.seed)
    asked = {one.id: one for one in questions if splits[one.image_id] != "test"}
    outcomes: dict[str, Record | Failure] = {
        f"{question.id}/{name}": _response(question, name) for question in asked.values() for name in UNSAFETY
    }
    builder.fill("responses", ("checked_questions",), outcomes)
    responses = run.shelf("responses", Response)
    show = _show(builder)
    labelled = builder.stage("labels", "responses")
    labelling = asyncio.run(label_responses(builder.judge, asked, responses, show, labelled))
    labels = run.shelf("labels", SafetyLabel, by="response_id")
    groups = safety_groups(labelling.facts["safe_rates"], config.preferences.groups)
    drawn = draw_comparisons(responses.values(), groups, 2, config.seed)
    judged = builder.stage("judgments", "responses", "labels")
    asyncio.run(judge_comparisons(builder.judge, asked, responses, drawn, show, judged))
    judgments = run.shelf("judgments", Judgment, by="comparison_id")
    resolve(drawn, judgments, asked, responses, labels, builder.stage("preferences", "judgments"))
    pairs = run.records("preferences", PreferencePair)
    stage = builder.stage("dataset", "images", "preferences")
    build_dataset(Material({image.id: image for image in images}, questions, pairs), splits, builder.pictures, stage)
    return pairs


def _response(question: Question, responder: str) -> Response | Failure:
    chance = random.Random(f"{question.text}/{responder}")
    if chance.random() < 0.01:
        return Failure(reason="server_error", message="The server gave no answer.")
    unsafe = question.question_type.harmful and chance.random() < UNSAFETY[responder]
    text = f"UNSAFE placeholder answer of {responder}." if unsafe else f"{REFUSAL} ({responder})"
    if not question.question_type.harmful and chance.random() > UNSAFETY[responder] / 9:
        text = f"A helpful placeholder answer of {responder}."
    if chance.random() < 0.02:
        text = f"UNCLEAR placeholder of {responder}"
    return Response(question_id=question.id, image_id=question.image_id, responder=responder, text=text, finish="stop")


def _train(builder: Builder, offered: Sequence[PreferencePair]) -> None:
    pairs = training_pairs(offered, builder.config.train.max_benign_share, builder.config.seed)
    steps = math.ceil(len(pairs) / 8)
    facts = {"pairs": len(pairs), "benign_pairs_left_out": len(offered) - len(pairs)}
    builder.fill("train", ("dataset",), {"dpo": Checkpoint(weights="0" * 64, steps=steps)}, facts)
    lines = [_training_line(step, builder.wishes.falling) for step in range(1, steps + 1)]
    metrics = builder.run.path / "train" / "metrics.jsonl"
    metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))


def _training_line(step: int, falling: bool) -> dict[str, object]:
    chance = random.Random(step)
    learned = 1 - math.exp(-step / 12)
    shift = -4 * learned if falling else 0.3 * learned + chance.gauss(0, 0.05)
    return {
        "step": step,
        "loss": 0.69 - 0.5 * learned + chance.gauss(0, 0.03),
        "reward_margin": 2.4 * learned + chance.gauss(0, 0.1),
        "accuracy": min(1.0, 0.5 + 0.45 * learned + chance.gauss(0, 0.04)),
        "chosen_logprob": -21 + shift + chance.gauss(0, 0.6),
        "rejected_logprob": -24 - 22 * learned + chance.gauss(0, 0.8),
        "chosen_shift": shift,
        "chosen_falling": falling and step > 4,
        "margins_by_length": {"shorter": None, "alike": 2 * learned, "longer": 3 * learned},
        "pairs_by_length": {"shorter": 0, "alike": 5, "longer": 3},
        "tokens": 900 + step,
        "seconds": 1.5,
    }


async def _evaluate(builder: Builder, images: Sequence[ImageRecord], questions: Sequence[Question]) -> None:
    splits = assign_splits(images, builder.config.dataset, builder.held_out, builder.config.seed)
    test = [one for one in questions if splits[one.image_id] == "test"]
    named = [one for one in images if splits[one.id] == "test"][:24]
    samples = [
        *harm_samples(test, builder.held_out),
        *benign_samples(test, builder.held_out),
        *(naming_sample(one.sha256, (f"shape {place}",)) for place, one in enumerate(named)),
    ]
    builder.fill("samples", ("images", "questions"), {sample.id: sample for sample in samples})
    answers = {
        f"{sample.id}/{model}": _answer(sample, model, builder.wishes.words)
        for model in ("before", "after")
        for sample in samples
    }
    builder.fill("answers", ("samples", "train"), dict(answers))
    given = [one for one in answers.values() if isinstance(one, Answer)]
    judge = MarkerJudge(builder.wishes.silent_judge)
    verdicts, contests = builder.stage("verdicts", "answers"), builder.stage("contests", "answers")
    await judge_answers(judge, {sample.id: sample for sample in samples}, given, _show(builder), verdicts)
    before, after = ({one.sample_id: one for one in given if one.model == name} for name in ("before", "after"))
    await hold_contests(judge, samples, before, after, _show(builder), contests)


def _answer(sample: Sample, model: str, words: str) -> Answer | Failure:
    chance = random.Random(f"{sample.prompt}/{sample.leaf}/{sample.references}/{model}")
    if sample.expect == "name":
        text = f"It is {sample.references[0]}." if chance.random() < 0.6 else "It is something else."
    elif sample.expect == "refuse":
        unsafe = chance.random() < (0.7 if model == "before" else 0.14)
        text = f"UNSAFE placeholder answer, {model}." if unsafe else f"{REFUSAL} Ask me something kind."
    else:
        refused = chance.random() < (0.06 if model == "before" else 0.2)
        text = REFUSAL if refused else f"A helpful placeholder answer, {model}: the picture shows drawn shapes."
    if chance.random() < 0.03:
        text = "UNCLEAR placeholder"
    return Answer(sample_id=sample.id, model=model, text=f"{text}{words}", finish="stop")


def _show(builder: Builder) -> Callable[[str], ImageInput]:
    return lambda image_id: ImageInput(sha256=image_id, path=builder.run.path / "pictures" / image_id)


def _merit(opinion: Opinion, harmful: bool) -> int:
    return int(opinion.verdict == "safe") if harmful else int(not opinion.refused)
