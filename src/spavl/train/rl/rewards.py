"""What answers are worth: the scores of reward models, what safety judges say, and any rule given as a function.

Missing is not zero: an answer that a judge cannot tell has a `Failure` in place of a score and is left out of the
update. A score that is not finite is a fault of its source, and stops the training before anything is learnt of it.
"""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, SupportsFloat

import torch

from spavl.errors import RunError
from spavl.judges import Exchange, Opinion, SafetyJudge
from spavl.models.base import ImageInput
from spavl.records import Failure
from spavl.rl_config import JudgeRewardConfig, ModelRewardConfig, RewardConfig
from spavl.train.render import Row
from spavl.train.rl.reading import Body, Wanted, read
from spavl.train.rl.rollouts import Rollout, Score
from spavl.train.scalar_head import ScalarHead

COST = "cost"
"""What the price of harm is called among the scores."""


class Scored(NamedTuple):
    """Answers that want a score."""

    rollouts: Sequence[Rollout]
    rows: Sequence[Row]
    """The same as token ids, one answer each, in the same order."""


class Reward(Protocol):
    """Anything that scores answers."""

    def __call__(self, scored: Scored) -> Sequence[Score]:
        """Returns what each answer is worth, in order."""


class RuleFault(Exception):
    """A function raised; the text says what, and at which answer."""


class RuleReward:
    """A function of one answer.

    Args:
        rule: Returns what an answer is worth, or why it cannot say.
    """

    def __init__(self, rule: Callable[[Rollout], Score]) -> None:
        self._rule = rule

    def __call__(self, scored: Scored) -> list[Score]:
        """Returns what each answer is worth.

        Raises:
            RuleFault: The function raised.
        """
        return [self._worth(rollout) for rollout in scored.rollouts]

    def _worth(self, rollout: Rollout) -> Score:
        try:
            return self._rule(rollout)
        except Exception as error:  # it is not ours, and may raise anything
            raise RuleFault(f"the function raised {error!r} at {_told(rollout)}") from error


class JudgeReward:
    """What a safety judge says, as numbers.

    Args:
        config: The numbers.
        judge: The judge.
        show: Image id -> what the judge is shown; None for judges that read text alone.
    """

    def __init__(
        self, config: JudgeRewardConfig, judge: SafetyJudge, show: Callable[[str], ImageInput] | None = None
    ) -> None:
        self._config, self._judge, self._show = config, judge, show

    def __call__(self, scored: Scored) -> list[Score]:
        """Returns what each answer is worth."""
        return asyncio.run(self._score(scored.rollouts))

    async def _score(self, rollouts: Sequence[Rollout]) -> list[Score]:
        exchanges = [
            Exchange(one.question, one.text, one.harmful, self._show(one.image_id) if self._show else None)
            for one in rollouts
        ]
        size, slots = self._judge.group_size, asyncio.Semaphore(self._judge.concurrency)

        async def label(group: Sequence[Exchange]) -> list[Opinion | Failure]:
            async with slots:
                return await self._judge.label(group)

        groups = [exchanges[start : start + size] for start in range(0, len(exchanges), size)]
        found = [one for part in await asyncio.gather(*map(label, groups)) for one in part]
        return [self._worth(opinion, one.harmful) for opinion, one in zip(found, rollouts, strict=True)]

    def _worth(self, opinion: Opinion | Failure, harmful: bool) -> Score:
        if isinstance(opinion, Failure):
            return opinion
        if opinion.verdict == "unsafe":
            return self._config.unsafe
        if harmful or opinion.refused is False:
            return self._config.safe
        if opinion.refused is None:
            return Failure(reason="unscored", message="the judge does not say whether a benign question is declined")
        return self._config.refused_benign


class HeadReward:
    """One head of a reward model that lies in this process.

    Args:
        body: The reward model's weights.
        head: What it reads.
    """

    def __init__(self, body: Body, head: ScalarHead) -> None:
        self.body, self.head = body, head

    def __call__(self, scored: Scored) -> list[Score]:
        """Returns what each answer is worth."""
        return read_heads(self.body, {"": self.head}, scored.rows)[""]


@torch.no_grad()
def read_heads(body: Body, heads: Mapping[str, ScalarHead], rows: Sequence[Row]) -> dict[str, list[Score]]:
    """Returns what several heads of one reward model say of answers, in one pass: name -> one score an answer."""
    found: dict[str, list[Score]] = {name: [math.nan] * len(rows) for name in heads}
    with body.active():
        for packed in body.engine.pack(rows, range(len(rows))):
            reading = read(body, packed, Wanted(scores=heads))
            for name, scores in reading.scores.items():
                for place, (score,) in packed.by_row(scores.tolist()).items():
                    found[name][place] = score
    return found


class WeightedReward(NamedTuple):
    """One of the rewards that are added up."""

    name: str
    reward: Reward
    weight: float


def score_all(rewards: Sequence[WeightedReward], scored: Scored) -> dict[str, list[Score]]:
    """Returns what every source says of the answers: name -> one score an answer.

    Heads of one reward model are read in one pass.

    Raises:
        RunError: A function raised, a score is no finite number, or there are fewer or more scores than answers.
    """
    found: dict[str, Sequence[Score]] = {}
    bodies: dict[int, dict[str, HeadReward]] = {}
    for one in rewards:
        if isinstance(one.reward, HeadReward):
            bodies.setdefault(id(one.reward.body), {})[one.name] = one.reward
        else:
            found[one.name] = _asked(one, scored)
    for heads in bodies.values():
        body = next(iter(heads.values())).body
        found |= read_heads(body, {name: reward.head for name, reward in heads.items()}, scored.rows)
    return {one.name: _checked(one.name, found[one.name], scored.rollouts) for one in rewards}


def weighted_sum(rewards: Sequence[WeightedReward], scores: Mapping[str, Sequence[Score]]) -> list[Score]:
    """Returns Σ weight x score of each answer; one that a source cannot tell has no sum."""
    columns = zip(*(scores[one.name] for one in rewards), strict=True)
    weights = [one.weight for one in rewards]
    return [_sum(column, weights) for column in columns]


def name_of(config: RewardConfig, place: int) -> str:
    """Returns what a source's scores are called in files and figures."""
    match config:
        case ModelRewardConfig():
            return f"{place}_{config.head}"
        case JudgeRewardConfig():
            return f"{place}_{config.judge.kind}"
    return f"{place}_{config.name}"


def _sum(column: Sequence[Score], weights: Sequence[float]) -> Score:
    total = 0.0
    for score, weight in zip(column, weights, strict=True):
        if isinstance(score, Failure):
            return score
        total += weight * score
    return total


def _asked(one: WeightedReward, scored: Scored) -> Sequence[Score]:
    try:
        return one.reward(scored)
    except RuleFault as fault:
        raise RunError(f"reward {one.name}: {fault}. {_KEPT}") from fault


def _checked(name: str, scores: Sequence[Score], rollouts: Sequence[Rollout]) -> list[Score]:
    if len(scores) != len(rollouts):
        raise RunError(f"reward {name}: {len(scores)} scores for {len(rollouts)} answers. This source is broken.")
    return [_number(name, *both) for both in zip(scores, rollouts, strict=True)]


def _number(name: str, score: object, rollout: Rollout) -> Score:
    if isinstance(score, Failure):
        return score
    if isinstance(score, SupportsFloat) and math.isfinite(score):
        return float(score)
    raise RunError(f"reward {name}: the score of {_told(rollout)} is {score}, and should be a finite number. {_KEPT}")


def _told(rollout: Rollout) -> str:
    return f"the answer {rollout.text[:60]!r} to prompt {rollout.prompt}"


_KEPT = (
    "Nothing was learnt of this round and its answers are kept: mend that source, and run the same command again. With "
    "another reward model or rule the training begins anew."
)
