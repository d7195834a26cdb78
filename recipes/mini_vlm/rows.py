"""Turns drawings, easy-vqa and distilled chat into rows of picture, question and answer.

It samples without end and by a fixed mix, from a seed; it reads no pictures, only their indices.
"""

import json
import random
from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple

from easy_vqa import get_test_questions, get_train_questions
from recipes.mini_vlm.chat import Turn, article
from recipes.mini_vlm.config import WORK
from recipes.mini_vlm.data import Drawing

NAMING_PROMPT = "What is in this picture?"
SENTENCE_PROMPTS = (
    NAMING_PROMPT,
    NAMING_PROMPT,
    "What does the image show?",
    "What do you see in this picture?",
    "What is this?",
    "What is shown here?",
)
SHORT_PROMPTS = ("Name the object.", "Name the thing in the picture in a few words.", "Short: what is it?")
YES_NO_PROMPTS = ("Does the image show {}?", "Is this {}?", "Is there {} in the picture?")
GROUNDED = ("Describe this picture.", "Tell me something about this picture.", "Explain to a child")
MIX = {"naming": 0.42, "yes_no": 0.02, "vqa": 0.42, "picture_chat": 0.09, "text_chat": 0.05}
VQA_VALIDATION = 100


class Row(NamedTuple):
    """One training example; `store` and `index` name the picture's features, "" for none."""

    store: str
    index: int
    question: str
    answer: str


class VqaQuestion(NamedTuple):
    """One easy-vqa question with its one-word answer and the picture's number."""

    image: int
    question: str
    answer: str


def vqa_questions(test: bool) -> list[VqaQuestion]:
    """Returns the package's questions of one split."""
    questions, answers, images = get_test_questions() if test else get_train_questions()
    return [VqaQuestion(*row) for row in zip(images, questions, answers, strict=True)]


def vqa_captions(count: int) -> list[str]:
    """Returns what each of the first training pictures shows ("red circle"), as its answers tell."""
    parts: dict[int, set[str]] = defaultdict(set)
    for question in vqa_questions(test=False):
        if question.answer not in ("yes", "no"):
            parts[question.image].add(question.answer)
    shapes = {"circle", "rectangle", "triangle"}
    ordered = (sorted(parts[i], key=lambda word: word in shapes) for i in range(count))
    return [" ".join(words) or "shape" for words in ordered]


def is_negated(question: str) -> bool:
    """Tells whether an easy-vqa question asks for an absence ("is no red shape present?")."""
    return not {"no", "not"}.isdisjoint(question.split())


class Sampler:
    """Draws training rows at random by the fixed mix."""

    def __init__(self, drawings: list[Drawing], passes: int, vqa_images: int, seed: int) -> None:
        """Indexes everything that can be asked about.

        Args:
            drawings: all drawings; only those of the training split are used.
            passes: number of augmented passes of features on disk.
            vqa_images: number of easy-vqa training pictures with features.
            seed: seeds every choice.
        """
        self.rng = random.Random(seed)
        self.passes = passes
        self.by_caption: dict[str, list[int]] = defaultdict(list)
        for index, drawing in enumerate(drawings):
            if drawing.split == "train":
                self.by_caption[drawing.caption].append(index)
        self.captions = sorted(self.by_caption)
        turns = [Turn(**json.loads(line)) for line in (WORK / "chat.jsonl").open()]
        self.text_turns = [turn for turn in turns if not turn.caption]
        self.picture_turns = [turn for turn in turns if turn.caption in self.by_caption]
        self.vqa = [row for row in vqa_questions(test=False) if row.image < vqa_images - VQA_VALIDATION]
        self.makers: dict[str, Callable[[], Row]] = {
            "naming": self.naming,
            "yes_no": self.yes_no,
            "vqa": self.vqa_row,
            "picture_chat": self.picture_chat,
            "text_chat": self.text_chat,
        }

    def rows(self, count: int) -> list[Row]:
        """Returns that many fresh rows."""
        kinds = self.rng.choices(list(MIX), weights=list(MIX.values()), k=count)
        return [self.makers[kind]() for kind in kinds]

    def _picture(self, caption: str) -> tuple[str, int]:
        return f"pass_{self.rng.randrange(self.passes)}", self.rng.choice(self.by_caption[caption])

    def _caption(self) -> str:
        """Returns a concept, those with more drawings a little more often."""
        pair = self.rng.choices(self.captions, k=2)
        return max(pair, key=lambda caption: len(self.by_caption[caption]) > 2)

    def naming(self) -> Row:
        """Returns a naming row; the question decides between a sentence and a phrase."""
        caption = self._caption()
        name = article(caption)
        if self.rng.random() < 0.7:
            return Row(
                *self._picture(caption),
                self.rng.choice(SENTENCE_PROMPTS),
                f"The picture shows {name}.",
            )
        return Row(*self._picture(caption), self.rng.choice(SHORT_PROMPTS), name[:1].upper() + name[1:] + ".")

    def yes_no(self) -> Row:
        """Returns a question with a right or a wrong name, half each."""
        caption = self._caption()
        right = self.rng.random() < 0.5
        asked = caption if right else self.rng.choice(self.captions)
        question = self.rng.choice(YES_NO_PROMPTS).format(article(asked))
        word = "Yes" if asked == caption else "No"
        return Row(*self._picture(caption), question, f"{word}, it shows {article(caption)}.")

    def vqa_row(self) -> Row:
        """Returns an easy-vqa question, as frequent as it is in the package."""
        row = self.rng.choice(self.vqa)
        return Row("vqa_train", row.image, row.question, f"{row.answer.capitalize()}.")

    def picture_chat(self) -> Row:
        """Returns a distilled answer as an answer about the picture of its concept."""
        turn = self.rng.choice(self.picture_turns)
        answer = turn.answer
        if turn.question.startswith(GROUNDED) or self.rng.random() < 0.15:
            answer = f"The picture shows {article(turn.caption)}. {answer}"
        return Row(*self._picture(turn.caption), turn.question, answer)

    def text_chat(self) -> Row:
        """Returns a distilled answer to a question without a picture."""
        turn = self.rng.choice(self.text_turns)
        return Row("", 0, turn.question, turn.answer)
