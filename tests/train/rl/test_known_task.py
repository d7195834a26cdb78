"""A small task with a known best: the right half of the vocabulary depends on the picture. Real sampling, real updates.

Two pictures, one question, answers of one token. A token with an even id is worth 1 for one picture and 0 for the
other, an odd one the other way round: who does not look at the picture gets 1/2 at most, and the best is 1.
"""

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.train.rl.material import rl_settings

from spavl.rl_config import FixedKlConfig, LocalConfig
from spavl.train.rl.prompts import Prompt
from spavl.train.rl.rewards import RuleReward
from spavl.train.rl.rollouts import Rollout, Score
from spavl.train.rl.sources import Sources
from spavl.train.rl.station import Asked, train_rl

pytestmark = pytest.mark.slow
PICTURES = ("img-0", "img-1")
ANSWERS = 48
LAST = 4
"""Rounds that the reward is averaged over, of 24."""
Picture = Callable[[str], Path]


def looks(rollout: Rollout) -> Score:
    """Returns 1 where the token is of the half that the picture asks for."""
    return float(rollout.tokens[0] % 2 == PICTURES.index(rollout.image_id))


def final_reward(tiny: Path, picture: Picture, output: Path, seed: int, **changes: Any) -> float:
    """Trains for 24 rounds, and returns the mean reward of the last ones' sampled answers."""
    task: dict[str, Any] = {
        "cache": output / "cache",
        "rounds": 24,
        "answers_per_prompt": ANSWERS,
        "minibatch_size": 2 * ANSWERS,
        "rollouts": LocalConfig(batch_size=2 * ANSWERS),
        "max_tokens": 1,
        "no_end_penalty": 0,
        "kl": FixedKlConfig(weight=0.0),
        "scale_rewards": False,
        "learning_rate": 1.5e-2,
        "tokens_per_forward": 2000,
        "save_every": 24,
    }
    asked = Asked([Prompt(name, "?", harmful=True) for name in PICTURES], picture)
    config = rl_settings(**{**task, **changes})
    found = train_rl(config, asked, Sources(rules={"even": RuleReward(looks)}), tiny, output, seed)
    lines = [json.loads(line) for line in found.metrics.read_text().splitlines()]
    return statistics.fmean(line["reward"] for line in lines[-LAST:])


@pytest.mark.parametrize("seed", range(5))
def test_ppo_solves_it(seed: int, tiny: Path, picture: Picture, tmp_path: Path) -> None:
    assert final_reward(tiny, picture, tmp_path, seed) >= 0.95


@pytest.mark.parametrize("seed", range(2))
def test_rloo_solves_it(seed: int, tiny: Path, picture: Picture, tmp_path: Path) -> None:
    assert final_reward(tiny, picture, tmp_path, seed, method="rloo") >= 0.95


@pytest.mark.parametrize("method", ["ppo", "rloo"])
def test_it_fails_where_one_picture_is_shown_for_both(
    method: str, tiny: Path, picture: Picture, tmp_path: Path
) -> None:
    """The reward goes by each prompt's own picture, and the policy is shown the first one for either: 1/2 is left.

    A policy that learns from anything but the picture which prompt it answers gets up to 1, as above. One that cannot
    answers both alike, P(even) and 1 - P(even) of them right: of 384 answers the mean lies within 0.5 ± 0.13 but once
    in 10^6 times.
    """
    found = final_reward(tiny, lambda _: picture(PICTURES[0]), tmp_path, 0, method=method)
    assert abs(found - 0.5) < 0.13
