"""What is kept between rounds: prices, the scale of rewards, and how answers end."""

import json

import pytest
from tests.train.rl.material import rl_settings

from spavl.errors import RunError
from spavl.rl_config import AdaptiveKlConfig, CostConfig, JudgeRewardConfig
from spavl.train.rl.steering import Steering

CONFIG = rl_settings(
    kl=AdaptiveKlConfig(kind="adaptive", weight=0.1, target=6.0, horizon=100),
    cost=CostConfig(source=JudgeRewardConfig(weight=-1), start=1.0, rate=0.1, threshold=0.0),
    no_end_penalty=0.5,
    no_end_rounds=2,
    centre_rewards=False,
)


def test_rewards_are_divided_by_their_running_deviation_and_limited() -> None:
    """1, 3: deviation √2, so 4 is worth 2.828; 100 is worth the limit, 10."""
    steering = Steering.start(CONFIG).seen(CONFIG, [1.0, 3.0])
    assert steering.worth(CONFIG, 4.0, ended=True) == pytest.approx(2.828427)
    assert steering.worth(CONFIG, 100.0, ended=True) == 10.0


def test_rewards_far_from_0_are_told_apart_and_cut_ones_are_counted() -> None:
    """At the defaults 19, 20 and 21 lie -1, 0 and 1 deviations from the first round's mean.

    Uncentred they are worth 19, 20 and 21 deviations, which the limit of 10 makes equal.
    """
    config = rl_settings()
    steering = Steering.start(config).seen(config, [19.0, 20.0, 21.0])
    assert [steering.worth(config, raw, ended=True) for raw in (19.0, 20.0, 21.0)] == [-1.0, 0.0, 1.0]
    assert steering.limited(config, [19.0, 20.0, 31.0]) == pytest.approx(1 / 3) and steering.limited(config, []) is None
    config = rl_settings(centre_rewards=False)
    steering = Steering.start(config).seen(config, [19.0, 20.0, 21.0])
    assert [steering.worth(config, raw, ended=True) for raw in (19.0, 20.0, 21.0)] == [10.0] * 3
    assert steering.limited(config, [19.0, 20.0, 21.0]) == 1


def test_an_answer_without_an_end_pays_whatever_its_reward() -> None:
    """0.5 of the scaled reward: 2.828 - 0.5."""
    steering = Steering.start(CONFIG).seen(CONFIG, [1.0, 3.0])
    assert steering.worth(CONFIG, 4.0, ended=False) == pytest.approx(2.328427)


def test_the_first_rounds_mean_is_taken_away_from_all_rewards_where_asked() -> None:
    """Mean 2 of the first round stays, whatever comes later; without scaling 7 is worth 5."""
    config = rl_settings(centre_rewards=True, scale_rewards=False)
    steering = Steering.start(config).seen(config, [1.0, 3.0]).seen(config, [50.0])
    assert steering.worth(config, 7.0, ended=True) == 5.0


def test_the_prices_follow_divergence_and_harm() -> None:
    """KL 12 of 6: e = 0.2, β = 0.1 (1 + 0.2 x 10 / 100) = 0.102. Cost 2 over 0: log λ = 0.1 x 2 = 0.2."""
    steering = Steering.start(CONFIG).after(divergence=12.0, answers=10, mean_cost=2.0)
    assert steering.kl.weight == pytest.approx(0.102)
    assert steering.cost is not None and steering.cost.log_weight == pytest.approx(0.2)


def test_json_keeps_every_bit() -> None:
    steering = Steering.start(CONFIG).seen(CONFIG, [0.1, 0.2, 1 / 3]).after(7.1, 3, 0.3).ended(CONFIG, 0)
    assert Steering.start(CONFIG).restored(json.loads(json.dumps(steering.numbers()))) == steering


def test_numbers_of_another_training_are_refused() -> None:
    fixed = Steering.start(rl_settings()).numbers()
    with pytest.raises(RunError, match="another training"):
        Steering.start(CONFIG).restored(fixed)


def test_answers_that_never_end_stop_the_training() -> None:
    steering = Steering.start(CONFIG).ended(CONFIG, 0).ended(CONFIG, 1).ended(CONFIG, 0)
    with pytest.raises(RunError, match=r"last 2 rounds ended within max_tokens=6"):
        steering.ended(CONFIG, 0)
