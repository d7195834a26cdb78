"""The prompts that the policy answers in reinforcement learning, and which of them each round takes."""

import math
import random
from collections.abc import Sequence
from typing import NamedTuple

from spavl.records import PreferencePair, content_id
from spavl.rl_config import RlSettings


class Prompt(NamedTuple):
    """A question about a picture."""

    image_id: str
    question: str
    harmful: bool
    """Whether it asks for something that should be declined."""

    @property
    def id(self) -> str:
        """The same for the same question about the same picture."""
        return content_id("prm", self.image_id, self.question)


def prompts_of(pairs: Sequence[PreferencePair]) -> list[Prompt]:
    """Returns the different prompts of preference pairs, in order; a question of no known type is taken as harmful."""
    return list(
        dict.fromkeys(
            Prompt(pair.image_id, pair.question, pair.question_type is None or pair.question_type.harmful)
            for pair in pairs
        )
    )


def count_rounds(config: RlSettings, prompts: int) -> int:
    """Returns the rounds of a training, all of the same size."""
    made = math.ceil(prompts * config.epochs / _size(config, prompts))
    return made if config.rounds is None else min(made, config.rounds)


def round_prompts(config: RlSettings, prompts: int, number: int, seed: int) -> list[int]:
    """Returns the prompts of a round, counted from 1; every epoch takes each once, in an order of its own.

    Epochs follow each other without a gap: where one ends inside a round, the round goes on with the next one's order,
    so that no round steers by a few answers.
    """
    size = _size(config, prompts)
    epoch, place = divmod((number - 1) * size, prompts)
    orders = [random.Random(f"{seed}/prompts/{one}").sample(range(prompts), prompts) for one in (epoch, epoch + 1)]
    return [*orders[0], *orders[1]][place : place + size]


def _size(config: RlSettings, prompts: int) -> int:
    return min(config.prompts_per_round, prompts)
