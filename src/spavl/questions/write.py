"""Writes one question of each type about each picture.

The writer sees the picture, its caption, which is data and is cut where it is long, and the leaf. Where it declines it
is asked again as the configuration says. Which opening a picture gets is decided by its id. Everyday topics are dealt
out, so that no two questions have the same one while there are enough of them: a benign question of a held-out picture
is then about a topic that was never trained on.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from spavl.config import QuestionsConfig
from spavl.execution import LazyItems, map_items
from spavl.judges.declining import declined
from spavl.judges.judged_text import fenced, unmarked
from spavl.models.ask import check_reached, outcome
from spavl.models.base import Completion, ImageInput, Request
from spavl.models.call_store import StoredModel
from spavl.prompt_files import Prompt
from spavl.questions.prompts import everyday_topics, load_prompts
from spavl.records import Failure, ImageRecord, Question, QuestionType
from spavl.store import Manifest, Outcome, StageDirectory, Usage
from spavl.taxonomy import Taxonomy
from spavl.texts.visible import visible

_GUARDED = re.compile(r"\b(?:avoid|prevent|protect|safeguard|discourag|combat)\w*", re.IGNORECASE)
CAPTION_CHARS = 1000
"""Most characters of a caption that a writer is shown; what is said beyond them stays in the caption's record."""
MIN_WORDS = 6
"""A shorter text does not say what is wanted."""


class Subject(NamedTuple):
    """A picture with the caption that the writer is given."""

    image: ImageRecord
    caption: str


class Try(NamedTuple):
    """How a question is asked for; the first try, or one after a refusal."""

    prompts: Mapping[QuestionType, Prompt]
    temperature: float
    seed: int
    """Counts the earlier tries that are the same but for it."""


class Task(NamedTuple):
    """One question to be written."""

    image: ImageRecord
    caption: str
    question_type: QuestionType
    number: int = 1
    """Counts the questions of this type about this picture."""

    @property
    def item(self) -> str:
        """The item's name in the stage."""
        return _item(self.image.id, self.question_type, self.number)


async def write_questions(
    config: QuestionsConfig,
    taxonomy: Taxonomy,
    subjects: Mapping[str, Subject],
    show: Callable[[str], ImageInput],
    writer: StoredModel,
    stage: StageDirectory,
) -> Manifest:
    """Runs the station: every picture, every question type.

    Args:
        config: What is written, and how refusals are met.
        taxonomy: What the leaves are called.
        subjects: Image id -> the picture with its caption.
        show: Image id -> the picture.
        writer: Who writes.
        stage: Where outcomes go.

    Raises:
        RunError: The writer was out of reach too often.
    """
    tasks, tries = plan_tasks(config, subjects), plan_tries(config)
    request = question_requests(config, taxonomy, tasks, show)

    async def work(group: Sequence[tuple[str, Task]]) -> tuple[list[Outcome], Usage]:
        results: dict[str, Question | Failure] = {}
        waiting = list(group)
        for refusals, how in enumerate(tries):
            replies = await writer.generate([request(task, how) for _, task in waiting])
            for (item, task), reply in zip(waiting, replies, strict=True):
                results[item] = (
                    reply if isinstance(reply, Failure) else read_question(task, reply, config.writer, refusals)
                )
            waiting = [(item, task) for item, task in waiting if _refused(results[item])]
            if not waiting:
                break
        return [outcome(item, results[item]) for item, _ in group], writer.take_usage()

    limits = {"group_size": writer.group_size, "concurrency": writer.concurrency}
    await map_items(stage, tasks, work, label="questions", **limits)
    check_reached(stage, len(tasks))
    refusals = Counter(str(question.refusals) for question in stage.each(Question))
    facts = {"prompts": config.prompts, "written_after_refusals": dict(sorted(refusals.items()))}
    return stage.finish(tasks, facts=facts | _cut_captions(subjects))


def shown_caption(caption: str) -> str:
    """Returns what a writer is shown of a caption: all of it, or its beginning, mostly to a word's end, and `...`."""
    if len(caption) <= CAPTION_CHARS:
        return caption
    beginning = caption[: CAPTION_CHARS - 4]
    words = beginning.rpartition(" ")[0]
    return f"{words if len(words) > CAPTION_CHARS // 2 else beginning} ..."


def _cut_captions(subjects: Mapping[str, Subject]) -> dict[str, Any]:
    """Counts the pictures whose captions were shown in part, as a fact of the stage where there are any."""
    pictures = sum(len(one.caption) > CAPTION_CHARS for one in subjects.values())
    return {"captions_cut": {"shown_characters": CAPTION_CHARS, "pictures": pictures}} if pictures else {}


def question_requests(
    config: QuestionsConfig, taxonomy: Taxonomy, tasks: Iterable[str], show: Callable[[str], ImageInput]
) -> Callable[[Task, Try], Request]:
    """Returns the function that makes the writer's request of any try at any of the tasks, which are all there are."""
    topic = deal_topics([item for item in tasks if not _type_of(item).harmful])

    def request(task: Task, how: Try) -> Request:
        prompt = how.prompts[task.question_type]
        harmful = task.question_type.harmful
        about = taxonomy.leaf(task.image.leaf).name if harmful else topic(task.item)
        caption = shown_caption(task.caption)
        words = {"caption": fenced(caption), "subject": unmarked(caption), "topic": about}
        return Request(
            prompt=prompt.prompt.format(**words),
            image=show(task.image.id),
            answer_prefix=opening(task, prompt).format(**words),
            max_tokens=config.max_tokens,
            temperature=how.temperature,
            seed=how.seed,
        )

    return request


def plan_tries(config: QuestionsConfig) -> list[Try]:
    """Returns the first try, and those after a refusal.

    Raises:
        UserError: A file of prompts is missing or wrong.
    """
    return [
        Try(load_prompts(name, config.types), temperature, config.tries[:place].count((name, temperature)))
        for place, (name, temperature) in enumerate(config.tries)
    ]


def plan_tasks(config: QuestionsConfig, subjects: Mapping[str, Subject]) -> Mapping[str, Task]:
    """Returns what is to be written: one question of each harmful type about each picture, and the benign ones."""
    rounds = [
        (question_type, number)
        for question_type in config.types
        for number in range(1, 1 + (1 if question_type.harmful else config.benign_per_image))
    ]

    def names() -> Iterator[str]:
        return (_item(image, *one) for one in rounds for image in subjects)

    def load(item: str) -> Task:
        image, _, rest = item.partition("/")
        return Task(*subjects[image], _type_of(item), int(rest.partition("/")[2] or 1))

    return LazyItems(len(rounds) * len(subjects), names, load)


def deal_topics(items: Sequence[str]) -> Callable[[str], str]:
    """Returns which everyday topic a benign question has; none is given twice before all have been given once.

    Every question has a topic of its own choice, and takes the next one that has room where that is full; who comes
    first is decided by name. So one more question moves few others: those that it takes the room of, and those that
    these do (linear probing; where all topics become full and each gets room for one more, some move back).
    """
    topics = everyday_topics()
    order = np.sort(np.fromiter(map(_place, items), np.uint64, len(items)))
    left = [-(-len(order) // len(topics))] * len(topics)  # ceil: as often as each topic is needed
    following = list(range(len(topics)))  # a full topic -> a later one
    dealt = np.empty(len(order), np.uint16)
    for at, place in enumerate(order.tolist()):
        topic = place % len(topics)
        while following[topic] != topic:
            following[topic] = topic = following[following[topic]]
        dealt[at] = topic
        left[topic] -= 1
        if left[topic] == 0:
            following[topic] = (topic + 1) % len(topics)
    return lambda item: topics[dealt[np.searchsorted(order, np.uint64(_place(item)))]]


def opening(task: Task, prompt: Prompt) -> str:
    """Returns the beginning that the writer completes; empty where the prompt has none."""
    return _choose(prompt.openings, task) if prompt.openings else ""


def read_question(task: Task, completion: Completion, writer: str, refusals: int = 0) -> Question | Failure:
    """Cuts the writer's text to one question or statement, or says why it is none.

    Args:
        task: What was to be written.
        completion: What was written.
        writer: The writer's name.
        refusals: How often the writer declined before.
    """
    if how := declined(completion):
        return Failure(reason="refused", message=f"After {refusals} earlier refusals the writer {how}.")
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
        refusals=refusals,
    )


def first_sentence(text: str, *, statement: bool) -> str:
    """Returns the first line up to its first question mark, or, without one, up to its last whole word.

    A statement ends with a full stop, a question with a question mark; quotes and numbering around it are removed, and
    so is what nobody sees.
    """
    line = visible(text.strip().split("\n")[0]).strip().strip('"“”').removeprefix("Question:").strip()
    line = re.sub(r"\s+", " ", line)
    if "?" in line and not statement:
        return line[: line.index("?") + 1]
    sentences = re.split(r"(?<=[.!?])\s", line)
    sentence = sentences[0] if statement or len(sentences) > 1 else line
    return sentence.rstrip(" ,;:.!?") + ("." if statement else "?")


def _refused(result: Question | Failure) -> bool:
    return isinstance(result, Failure) and result.reason == "refused"


def _item(image_id: str, question_type: QuestionType, number: int) -> str:
    name = f"{image_id}/{question_type}"
    return name if number == 1 else f"{name}/{number}"


def _type_of(item: str) -> QuestionType:
    return QuestionType(item.split("/")[1])


def _place(item: str) -> int:
    """Returns where a benign question stands in the order in which topics are dealt."""
    return int.from_bytes(hashlib.sha256(f"{item}/topic".encode()).digest()[:8], "big")


def _choose(options: Sequence[str], task: Task) -> str:
    digest = hashlib.sha256(task.item.encode()).digest()
    return options[int.from_bytes(digest[:8], "big") % len(options)]
