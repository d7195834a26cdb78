"""A small task with a known best: the right half of the vocabulary depends on the picture.

Two pictures, one question, answers of one token. A token with an even id is worth 1 for one picture and 0 for the
other, an odd one the other way round: who does not look at the picture gets 1/2 at most, and the best is 1. Sampling
and updates are the library's.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.train.rl.material import rl_settings

from spavl.rl_config import FixedKlConfig, LocalConfig
from spavl.train.rl.prompts import Prompt
from spavl.train.rl.rewards import RuleReward
from spavl.train.rl.rollouts import Rollout, Score
from spavl.train.rl.sources import Sources
from spavl.train.rl.station import Asked, train_rl

PICTURES = ("img-0", "img-1")
ANSWERS = 48
ROUNDS = 24
LAST = 4
"""Rounds that the final reward is averaged over."""
Picture = Callable[[str], Path]


def looks(rollout: Rollout) -> Score:
    """Returns 1 where the token is of the half that the picture asks for."""
    return float(rollout.tokens[0] % 2 == PICTURES.index(rollout.image_id))


def learning_curve(model: Path, picture: Picture, output: Path, seed: int, **changes: Any) -> list[float]:
    """Trains for 24 rounds, and returns the mean reward of each round's sampled answers."""
    task: dict[str, Any] = {
        "cache": output / "cache",
        "rounds": ROUNDS,
        "answers_per_prompt": ANSWERS,
        "minibatch_size": 2 * ANSWERS,
        "rollouts": LocalConfig(batch_size=2 * ANSWERS),
        "max_tokens": 1,
        "no_end_penalty": 0,
        "kl": FixedKlConfig(weight=0.0),
        "scale_rewards": False,
        "centre_rewards": False,
        "learning_rate": 1.5e-2,
        "tokens_per_forward": 2000,
        "save_every": ROUNDS,
    }
    asked = Asked([Prompt(name, "?", harmful=True) for name in PICTURES], picture)
    config = rl_settings(**{**task, **changes})
    found = train_rl(config, asked, Sources(rules={"even": RuleReward(looks)}), model, output, seed)
    return [json.loads(line)["reward"] for line in found.metrics.read_text().splitlines()]
