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
    """Returns the rounds of a training; the last one of an epoch may have fewer prompts."""
    made = math.ceil(prompts / config.prompts_per_round) * config.epochs
    return made if config.rounds is None else min(made, config.rounds)


def round_prompts(config: RlSettings, prompts: int, number: int, seed: int) -> list[int]:
    """Returns the prompts of a round, counted from 1; every epoch takes each once, in an order of its own."""
    epoch, place = divmod(number - 1, math.ceil(prompts / config.prompts_per_round))
    order = random.Random(f"{seed}/prompts/{epoch}").sample(range(prompts), prompts)
    return order[place * config.prompts_per_round : (place + 1) * config.prompts_per_round]
