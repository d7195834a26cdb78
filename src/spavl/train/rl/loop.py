"""The rounds of reinforcement learning: answer, score, weigh, update, steer, log, save.

Prompts, sampling and minibatches of a round are functions of (seed, round) alone and its answers are on the disk before
they are used, so a run that goes on from a checkpoint is bitwise the run that was never stopped, and pays for no answer
twice.
"""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

from spavl.errors import RunError
from spavl.execution import progress_bar
from spavl.models.ask import MAX_UNREACHED, commonest
from spavl.models.generation import Generated
from spavl.records import Failure
from spavl.rl_config import RlConfig
from spavl.train.checkpoint import TrainingState, checkpoint_steps, load_checkpoint, save_checkpoint
from spavl.train.loop import schedule
from spavl.train.render import Row
from spavl.train.rl.experience import Scores, know, weigh
from spavl.train.rl.metrics import RlLog, answer_figures, learning_figures, shown_figures
from spavl.train.rl.prompts import Prompt, count_rounds, round_prompts
from spavl.train.rl.rewards import Scored, WeightedReward, score_all, weighted_sum
from spavl.train.rl.roles import Roles
from spavl.train.rl.rollouts import Answering, Rollout, RolloutFiles, Score
from spavl.train.rl.sampling import Sampler
from spavl.train.rl.steering import Steering
from spavl.train.rl.update import Round, plan_round, update
from spavl.train.trackers import open_trackers


class Material(NamedTuple):
    """What is answered, and by whom it is scored."""

    prompts: Sequence[Prompt]
    rows: Sequence[Row]
    """The same as token ids, without answers."""
    rewards: Sequence[WeightedReward]
    cost: WeightedReward | None
    imitated: Sequence[Row]
    """Answers to imitate, one a row."""
    decode: Callable[[Sequence[int]], str]
    """Token ids of an answer -> its text."""


class Learner(NamedTuple):
    """Who learns, and where it is kept."""

    roles: Roles
    state: TrainingState
    sampler: Sampler
    output: Path
    rollouts: Path
    """Where the rounds' answers lie."""


class LoopResult(NamedTuple):
    """What the loop did, over all attempts."""

    rounds: int
    alarms: dict[str, int]
    """Alarm -> rounds in which it was raised."""


def run_rounds(learner: Learner, material: Material, config: RlConfig, seed: int) -> LoopResult:
    """Trains to the end, from the newest checkpoint if there is one.

    Raises:
        UserError: An answer with its prompt does not fit `tokens_per_forward`.
        RunError: A reward, loss or gradient is not finite, no answer ends any more, a file is damaged, or the disk is
            full. What was saved is kept, answers included.
    """
    output, state = learner.output, learner.state
    checkpoints = output / "checkpoints"
    total = count_rounds(config, len(material.prompts))
    saved = checkpoint_steps(checkpoints)
    done = load_checkpoint(checkpoints / f"step-{saved[-1]}", state) if saved else 0
    steering = Steering.start(config)
    if done:
        steering = steering.restored(state.others)
    log = RlLog(output / "metrics.jsonl", done)
    trackers = open_trackers(config, output, done, log.reached)
    with trackers as track, progress_bar("rounds", total, done) as advance:
        for number in range(done + 1, total + 1):
            started = time.perf_counter()
            factor = schedule(config, number, total)
            steering, line = _round(learner, material, config, _At(number, factor, seed), steering)
            line = log.append(line | {"seconds": round(time.perf_counter() - started, 3)})
            track({**line, "alarms": len(line["alarms"])})  # trackers take numbers
            state.others = steering.numbers()
            if number % config.save_every == 0 or number == total:
                save_checkpoint(checkpoints, number, state)
            advance(1, shown_figures(line))
    return LoopResult(total, log.alarms)


class _At(NamedTuple):
    """Where in the training a round is."""

    number: int
    """Counted from 1."""
    factor: float
    """Share of every learning rate."""
    seed: int

    def derived(self, purpose: str) -> int:
        return random.Random(f"{self.seed}/{purpose}/{self.number}").getrandbits(63)


def _round(
    learner: Learner, material: Material, config: RlConfig, at: _At, steering: Steering
) -> tuple[Steering, dict[str, Any]]:
    """Does one round, and returns the state after it and its line of the log."""
    clock = _Clock()
    torch.manual_seed(at.derived("round"))
    files = RolloutFiles(learner.rollouts)
    rollouts = files.rollouts(at.number, _answering(learner.sampler, material, config, at))
    clock.lap("generate")
    asked = {prompt.id: row.prompt for prompt, row in zip(material.prompts, material.rows, strict=True)}
    rows = [Row(one.prompt, one.image_id, asked[one.prompt], (one.tokens,)) for one in rollouts]
    steering = steering.ended(config, sum(one.ended for one in rollouts))
    scores = files.scores(at.number, lambda: _score(material, config, Scored(rollouts, rows)))
    clock.lap("reward")
    line = {"step": at.number, **answer_figures(rollouts, scores), "kl_weight": steering.kl.weight}
    line |= {"learning_rate": config.learning_rate * at.factor}
    worth = weighted_sum(material.rewards, scores)
    costs = weighted_sum([material.cost], scores) if material.cost else None
    kept = [place for place, one in enumerate(worth) if _known(one) and (costs is None or _known(costs[place]))]
    _check_some(kept, len(worth))
    raw = [_number(worth[place]) for place in kept]
    steering = steering.seen(config, raw)
    line["limited"] = steering.limited(config, raw)
    rewards = [steering.worth(config, one, rollouts[place].ended) for one, place in zip(raw, kept, strict=True)]
    rows = [rows[place] for place in kept]
    plans = plan_round(rows, config, f"{at.seed}/update/{at.number}")
    known = know(learner.roles, rows, plans[0], config.temperature)
    clock.lap("score")
    harm = None if costs is None else torch.tensor([_number(costs[place]) for place in kept])
    weighed = weigh(known, Scores(torch.tensor(rewards), harm), steering, config)
    rests = config.method == "ppo" and at.number <= config.critic.head_only_rounds
    work = Round(known, weighed, plans, rests, _imitated(material, config, at, sum(map(len, plans))))
    done = update(learner.roles, learner.state, work, config, at.factor)
    clock.lap("update")
    line |= learning_figures(known, weighed, rewards, done)
    mean_cost = None if harm is None else float(harm.mean())
    line |= {"cost": mean_cost, "cost_weight": steering.cost.weight if steering.cost else None}
    line |= {"seconds_by_phase": clock.laps}
    return steering.after(line["kl"], len(rows), mean_cost), line


def _answering(sampler: Sampler, material: Material, config: RlConfig, at: _At) -> Answering:
    """Returns what has the policy answer a round's prompts."""
    places = round_prompts(config, len(material.prompts), at.number, at.seed)
    asked = [place for place in places for _ in range(config.answers_per_prompt)]
    follow = cache(lambda: sampler.follow(at.number))  # only where something is to be answered, and then once

    def answer(start: int, stop: int) -> list[Rollout]:
        follow()
        some = asked[start:stop]
        answers = sampler.sample([material.rows[place] for place in some], at.derived(f"answers {start}"))
        return [
            _rollout(material.prompts[place], one, material.decode) for place, one in zip(some, answers, strict=True)
        ]

    return Answering(len(asked), sampler.at_once, answer)


def _rollout(prompt: Prompt, answer: Generated, decode: Callable[[Sequence[int]], str]) -> Rollout:
    return Rollout(
        prompt=prompt.id,
        image_id=prompt.image_id,
        question=prompt.question,
        harmful=prompt.harmful,
        tokens=answer.tokens,
        text=decode(answer.tokens),
        ended=answer.ended,
    )


def _score(material: Material, config: RlConfig, scored: Scored) -> Mapping[str, Sequence[Score]]:
    """Has a round's answers scored.

    Raises:
        RunError: A score is not finite, no answer could be scored, or a source was out of reach too often.
    """
    sources = [*material.rewards, *([material.cost] if material.cost else [])]
    scores = score_all(sources, scored)
    for name, found in scores.items():
        failures = [one for one in found if isinstance(one, Failure)]
        unreached = [one for one in failures if one.transient]
        if len(unreached) > MAX_UNREACHED * len(found) or len(failures) == len(found):
            raise RunError(
                f"reward {name}: {len(failures)} of {len(found)} answers of the round have no score; the commonest "
                f"reason is {commonest(unreached or failures)}. Nothing was learnt of them, and they are kept: mend "
                f"the source, and run the same command again.{'' if unreached else _way_out(config)}"
            )
    return scores


def _way_out(config: RlConfig) -> str:
    """Returns what to do where it is the answers that nobody can score: they are kept, and come again as they are."""
    return (
        f" Where the answers are at fault, being too short to be read (train.max_tokens is {config.max_tokens}), that "
        "finds the same ones: start again with --restart-from train and a greater train.max_tokens, or with another "
        "source."
    )


def _imitated(material: Material, config: RlConfig, at: _At, steps: int) -> list[Row]:
    """Returns the answers that a round's steps imitate, drawn with replacement by the seed."""
    if config.ptx is None:
        return []
    return random.Random(at.derived("imitate")).choices(material.imitated, k=steps * config.ptx.batch_size)


def _known(score: Score) -> bool:
    return not isinstance(score, Failure)


def _number(score: Score) -> float:
    assert not isinstance(score, Failure)  # those were left out
    return score


def _check_some(kept: Sequence[int], answers: int) -> None:
    if not kept:
        raise RunError(
            f"None of the round's {answers} answers has every score that its reward is made of. Nothing was learnt of "
            "them, and they are kept. Take sources that can tell, and start again with --restart-from train."
        )


class _Clock:
    """Seconds of a round by phase."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = round(now - self._last, 3)
        self._last = now
