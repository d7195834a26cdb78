"""Writes one question of each type about each picture.

The writer sees the picture, its caption and the leaf. Which opening a picture gets is decided by its id. Everyday
topics are dealt out, so that no two questions have the same one while there are enough of them: a benign question of a
held-out picture is then about a topic that was never trained on.
"""

import hashlib
import itertools
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from spavl.config import QuestionsConfig
from spavl.models.ask import ask, check_reached
from spavl.models.base import Completion, ImageInput, Request
from spavl.models.call_store import StoredModel
from spavl.questions.prompts import QuestionPrompt, everyday_topics, load_prompts
from spavl.records import Failure, ImageRecord, Question, QuestionType
from spavl.store import Manifest, StageDirectory
from spavl.taxonomy import Taxonomy

_GUARDED = re.compile(r"\b(?:avoid|prevent|protect|safeguard|discourag|combat)\w*", re.IGNORECASE)
MIN_WORDS = 6
"""A shorter text does not say what is wanted."""


class Task(NamedTuple):
    """One question to be written."""

    image: ImageRecord
    question_type: QuestionType
    number: int = 1
    """Counts the questions of this type about this picture."""

    @property
    def item(self) -> str:
        """The item's name in the stage."""
        name = f"{self.image.id}/{self.question_type}"
        return name if self.number == 1 else f"{name}/{self.number}"


async def write_questions(
    config: QuestionsConfig,
    taxonomy: Taxonomy,
    images: Sequence[ImageRecord],
    show: Callable[[str], ImageInput],
    writer: StoredModel,
    stage: StageDirectory,
) -> Manifest:
    """Runs the station: every picture, every question type.

    Raises:
        RunError: The writer was out of reach too often.
    """
    tasks = plan_tasks(config, images)
    items = [(task.item, task) for task in tasks]
    request = question_requests(config, taxonomy, tasks, show)

    def read(task: Task, completion: Completion) -> Question | Failure:
        return read_question(task, completion, config.writer)

    await ask(stage, items, writer, request, read, label="questions")
    check_reached(stage, len(items))
    return stage.finish([name for name, _ in items], facts={"prompts": config.prompts})


def question_requests(
    config: QuestionsConfig, taxonomy: Taxonomy, tasks: Sequence[Task], show: Callable[[str], ImageInput]
) -> Callable[[Task], Request]:
    """Returns the function that makes the writer's request of any of the tasks, which are all there are."""
    prompts = load_prompts(config.prompts)
    everyday = deal_topics([task.item for task in tasks if not task.question_type.harmful])

    def request(task: Task) -> Request:
        prompt = prompts[task.question_type]
        harmful = task.question_type.harmful
        about = taxonomy.leaf(task.image.leaf).name if harmful else everyday[task.item]
        words = {"subject": task.image.caption, "topic": about}
        return Request(
            prompt=prompt.prompt.format(**words),
            image=show(task.image.id),
            answer_prefix=opening(task, prompt).format(**words),
            max_tokens=config.max_tokens,
            temperature=config.temperature,
        )

    return request


def plan_tasks(config: QuestionsConfig, images: Sequence[ImageRecord]) -> list[Task]:
    """Returns what is to be written: one question of each harmful type about each picture, and the benign ones."""
    return [
        Task(image, question_type, number)
        for question_type in config.types
        for number in range(1, 1 + (1 if question_type.harmful else config.benign_per_image))
        for image in images
    ]


def deal_topics(items: Sequence[str]) -> dict[str, str]:
    """Returns an everyday topic for each benign question; none is given twice before all have been given once."""
    order = sorted(items, key=lambda item: hashlib.sha256(f"{item}/topic".encode()).digest())
    return dict(zip(order, itertools.cycle(everyday_topics()), strict=False))


def opening(task: Task, prompt: QuestionPrompt) -> str:
    """Returns the beginning that the writer completes; empty where the prompt has none."""
    return _choose(prompt.openings, task) if prompt.openings else ""


def read_question(task: Task, completion: Completion, writer: str) -> Question | Failure:
    """Cuts the writer's text to one question or statement, or says why it is none."""
    if completion.finish in ("refusal", "content_filter"):
        return Failure(reason="writer_refused", message=f"The writer stopped with {completion.finish}.")
    text = first_sentence(completion.text, statement=task.question_type is QuestionType.HARD_STATEMENT)
    if len(text.split()) < MIN_WORDS:
        return Failure(reason="empty", message=f"The writer wrote {completion.text[:80]!r}.")
    if task.question_type.harmful and _GUARDED.search(text):
        return Failure(reason="not_harmful", message=f"It asks how to keep harm away: {text[:80]!r}.", dropped=True)
    return Question(
        image_id=task.image.id,
        leaf=task.image.leaf,
        question_type=task.question_type,
        text=text,
        writer=writer,
    )


def first_sentence(text: str, *, statement: bool) -> str:
    """Returns the first line up to its first question mark, or, without one, up to its last whole word.

    A statement ends with a full stop, a question with a question mark; quotes and numbering around it are removed.
    """
    line = text.strip().split("\n")[0].strip().strip('"“”').removeprefix("Question:").strip()
    line = re.sub(r"\s+", " ", line)
    if "?" in line and not statement:
        return line[: line.index("?") + 1]
    sentences = re.split(r"(?<=[.!?])\s", line)
    sentence = sentences[0] if statement or len(sentences) > 1 else line
    return sentence.rstrip(" ,;:.!?") + ("." if statement else "?")


def _choose(options: Sequence[str], task: Task) -> str:
    digest = hashlib.sha256(task.item.encode()).digest()
    return options[int.from_bytes(digest[:8], "big") % len(options)]
