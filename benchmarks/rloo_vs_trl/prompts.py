"""The prompts that both systems answer, and the processor that renders them for TRL.

Words are random and each is one token; a prompt is a picture's tokens and 40 words. The processor is that of the DPO
benchmark with a chat template, which TRL's trainer wants: the picture first, then the words.
"""

import random
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from benchmarks.dpo_vs_trl.pairs import MARKS, WordProcessor
from benchmarks.dpo_vs_trl.shapes import BEGIN, IMAGE, Shape
from PIL import Image
from transformers import BatchFeature

from spavl.train.render import Row
from spavl.train.rl.prompts import Prompt

WORDS = 40


class Question(NamedTuple):
    """One prompt."""

    prompt: Prompt
    picture: Image.Image
    row: Row
    """As token ids, without answers."""


class ChatProcessor(WordProcessor):
    """The word processor with a chat template."""

    def __call__(self, images: Any = None, text: Any = None, **options: Any) -> BatchFeature:  # noqa: ANN401
        """Returns ids and mask, and for pictures, a list for each text, what the model's image processor gives."""
        flat = None if images is None else [picture for some in images for picture in some]
        return super().__call__(flat, text, **options)

    def apply_chat_template(self, conversation: Any, tokenize: bool = False, **_: object) -> Any:  # noqa: ANN401
        """Renders a conversation, or a list of them, as text or as what the model takes."""
        if not tokenize:
            return _text(conversation)
        images = [[part["image"] for part in one[0]["content"] if part["type"] == "image"] for one in conversation]
        return self(images=images, text=[_text(one) for one in conversation])


def _text(conversation: Any) -> str:  # noqa: ANN401
    words = " ".join(part["text"] for part in conversation[0]["content"] if part["type"] == "text")
    return f"{MARKS[BEGIN]} {MARKS[IMAGE]} {words}"


def make_questions(shape: Shape, count: int, folder: Path) -> list[Question]:
    """Returns so many prompts, each about a picture of its own, which is written into the folder too."""
    draw, questions = random.Random(0), []
    for number in range(count):
        noise = np.random.default_rng(number).integers(0, 256, (*shape.picture[::-1], 3), dtype=np.uint8)
        picture = Image.fromarray(noise)
        picture.save(folder / f"image-{number}.png")
        words = [draw.randrange(shape.words) for _ in range(WORDS)]
        prompt = Prompt(f"image-{number}", " ".join(f"w{word}" for word in words), harmful=False)
        ids = (BEGIN, *[IMAGE] * shape.image_tokens, *(len(MARKS) + word for word in words))
        questions.append(Question(prompt, picture, Row(prompt.id, prompt.image_id, ids, ())))
    return questions
