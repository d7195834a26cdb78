"""The pairs both systems train on, and the processor both read them with.

Words are random and each is one token, so lengths are exact: picture, question and answers have the lengths of real
data, not its meaning. The processor is made by hand because those of Qwen2.5-VL and SmolVLM cannot be built without
torchvision (transformers 5.23); it does what TRL's collator asks for and no more.
"""

import math
import random
from typing import Any, NamedTuple

import numpy as np
from benchmarks.dpo_vs_trl.shapes import FIRST_WORD, IMAGE, Shape
from PIL import Image
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import BatchFeature, PreTrainedTokenizerFast, ProcessorMixin

from spavl.train.render import Row

MARKS = ("<pad>", "<begin>", "<end>", "<image>", "<vision>", "</vision>", "<video>")
OPENING_WORDS, QUESTION_WORDS, CLOSING_WORDS = 3, 32, 3
"""Around the picture as in LLaVA's template: what all prompts begin with, the question, the assistant's opening."""
ANSWER_WORDS = 149
"""With the end token 150."""
SPREAD, SHORTEST, LONGEST = 0.5, 8, 600
"""Answers of spread lengths: log-normal with this σ about the same mean, cut off at so many words."""


class Pair(NamedTuple):
    """One preference pair as texts."""

    image_id: str
    picture: Image.Image
    prompt: str
    chosen: str
    rejected: str


class WordProcessor(ProcessorMixin):
    """Picture and text to tensors: the picture's token is repeated as often as the model wants, words are tokens."""

    def __init__(self, shape: Shape) -> None:  # not the parent's: it would look the parts up by their class names
        self.image_processor = shape.image_processor()
        self.tokenizer = word_tokenizer(shape.words)
        self.chat_template = None
        self._image_tokens = shape.image_tokens

    def __call__(self, images: Any = None, text: Any = None, **options: Any) -> BatchFeature:  # noqa: ANN401
        """Returns ids and mask, and for pictures what the model's image processor gives."""
        data: dict[str, Any] = {}
        if images is not None:
            text = [prompt.replace(MARKS[IMAGE], MARKS[IMAGE] * self._image_tokens) for prompt in text]
            data = dict(self.image_processor(images, return_tensors="pt"))
        data |= self.tokenizer(text, return_token_type_ids=False, **options)
        if "image_grid_thw" in data:  # Qwen's positions are found with these
            data["mm_token_type_ids"] = (data["input_ids"] == IMAGE).long()
        return BatchFeature(data)


def word_tokenizer(words: int) -> PreTrainedTokenizerFast:
    """Returns a tokenizer of the marks and so many words, each one token."""
    vocabulary = {word: place for place, word in enumerate([*MARKS, *(f"w{number}" for number in range(words))])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token=MARKS[0]))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in MARKS])
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token=MARKS[0], bos_token=MARKS[1], eos_token=MARKS[2])


def make_pairs(shape: Shape, count: int, questions_per_image: int, *, spread: bool) -> list[Pair]:
    """Returns pairs with so many questions an image, an image's pairs together; answers are equally long, or spread."""
    draw = random.Random(0)

    def words(number: int) -> str:
        return " ".join(f"w{draw.randrange(shape.words)}" for _ in range(number))

    opening, closing = f"<begin> {words(OPENING_WORDS)}", words(CLOSING_WORDS)
    pairs = []
    for number in range(count):
        image = number // questions_per_image
        noise = np.random.default_rng(image).integers(0, 256, (*shape.picture[::-1], 3), dtype=np.uint8)
        prompt = f"{opening} <vision> <image> </vision> {words(QUESTION_WORDS)} {closing}"
        answers = (f"{words(answer_words(draw) if spread else ANSWER_WORDS)} <end>" for _ in range(2))
        pairs.append(Pair(f"image-{image}", Image.fromarray(noise), prompt, *answers))
    return pairs


def answer_words(draw: random.Random) -> int:
    """Draws an answer's length; the mean of a log-normal is exp(μ + σ²/2)."""
    drawn = draw.lognormvariate(math.log(ANSWER_WORDS) - SPREAD**2 / 2, SPREAD)
    return min(LONGEST, max(SHORTEST, round(drawn)))


def make_rows(pairs: list[Pair], processor: WordProcessor) -> list[Row]:
    """Returns the pairs as spavl's rows; the ids are those that the processor gives TRL."""
    rows = []
    for number, pair in enumerate(pairs):
        prompt = pair.prompt.replace(MARKS[IMAGE], MARKS[IMAGE] * processor._image_tokens)
        ids = [tuple(processor.tokenizer(text)["input_ids"]) for text in (prompt, pair.chosen, pair.rejected)]
        rows.append(Row(f"pair-{number}", pair.image_id, ids[0], (ids[1], ids[2])))
    return rows


assert len(MARKS) == FIRST_WORD
