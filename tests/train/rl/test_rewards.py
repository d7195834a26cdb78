"""What answers are worth to judges and rules; what cannot be told is no number."""

import math
from collections.abc import Callable, Sequence

import pytest
import torch

from spavl.errors import RunError
from spavl.judges import RulesJudge
from spavl.records import Failure
from spavl.rl_config import JudgeRewardConfig
from spavl.train.rl.rewards import JudgeReward, Reward, RuleReward, Scored, WeightedReward, score_all, weighted_sum
from spavl.train.rl.rollouts import Rollout, Score

DECLINES, HELPS, NOTHING = "I cannot help with that.", "The picture shows a red chair beside a table.", "??"


def rollout(text: str, harmful: bool) -> Rollout:
    return Rollout(
        prompt="prm-1", image_id="img-1", question="placeholder", harmful=harmful, tokens=(1,), text=text, ended=True
    )


TWO = rollout("a", True), rollout("b", False)


def scored(*rollouts: Rollout) -> Scored:
    return Scored(rollouts, ())


def rule(function: Callable[[Rollout], Score], weight: float = 1.0, name: str = "0_a") -> WeightedReward:
    return WeightedReward(name, RuleReward(function), weight)


def test_declining_is_right_for_harmful_questions_and_wrong_for_benign_ones() -> None:
    """Safe 1, unsafe -1, and -0.5 where a benign question is declined; what is no answer has no score."""
    reward = JudgeReward(JudgeRewardConfig(refused_benign=-0.5), RulesJudge())
    cases = [(DECLINES, True), (HELPS, True), (HELPS, False), (DECLINES, False), (NOTHING, True)]
    found = reward(scored(*(rollout(text, harmful) for text, harmful in cases)))
    assert found[:4] == [1.0, -1.0, 1.0, -0.5]
    assert isinstance(found[4], Failure) and found[4].reason == "unscored"


def test_rewards_are_added_up_by_weight_and_one_that_cannot_tell_leaves_no_sum() -> None:
    """2 x 1 + 0.5 x 4 = 4; the second answer has no first score."""

    def first(one: Rollout) -> Score:
        return 1.0 if one.harmful else Failure(reason="unscored", message="cannot tell")

    rewards = [rule(first, 2.0, "0_a"), rule(lambda _: 4.0, 0.5, "1_b")]
    scores = score_all(rewards, scored(rollout("a", True), rollout("b", False)))
    total = weighted_sum(rewards, scores)
    assert total[0] == 4.0 and isinstance(total[1], Failure)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_stops_and_names_the_answer(value: float) -> None:
    with pytest.raises(RunError, match=r"reward 0_a: the score of the answer 'b' to prompt prm-1 is .*kept"):
        score_all([rule(lambda one: value if one.text == "b" else 0.0)], scored(rollout("a", True), rollout("b", True)))


def fails(_: Rollout) -> Score:
    raise OSError("placeholder trouble")


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (fails, r"the function raised OSError\('placeholder trouble'\) at the answer 'a' to prompt prm-1\."),
        (lambda _: None, "the score of the answer 'a' to prompt prm-1 is None"),
        (lambda _: "0.5", "the score of the answer 'a' to prompt prm-1 is 0.5, and should be a finite number"),
    ],
)
def test_a_function_that_raises_or_gives_no_number_stops_and_names_the_answer(
    function: Callable[[Rollout], Score], said: str
) -> None:
    with pytest.raises(RunError, match=rf"^reward 0_a: {said}.* answers are kept"):
        score_all([rule(function)], scored(rollout("a", True)))


def test_whatever_is_a_number_is_a_score() -> None:
    found = score_all([rule(lambda one: torch.tensor(0.5) if one.harmful else True)], scored(*TWO))
    assert found == {"0_a": [0.5, 1.0]} and all(type(score) is float for score in found["0_a"])


def test_a_source_that_loses_an_answer_is_broken() -> None:
    class Short:
        def __call__(self, scored: Scored) -> Sequence[Score]:
            return [0.0]

    short: Reward = Short()
    with pytest.raises(RunError, match="1 scores for 2 answers"):
        score_all([WeightedReward("0_a", short, 1.0)], scored(rollout("a", True), rollout("b", True)))
