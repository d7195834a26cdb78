"""Our side: the library's own roles, sampler and rounds, as a training runs them, files and checkpoint included.

The gradient is a mean over a step's tokens here and over its answers in TRL, that is smaller by an answer's length: so
are what it is clipped to and what the optimiser adds to its root, and the steps are the same.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.dpo_vs_trl.pairs import WordProcessor
from benchmarks.rloo_vs_trl.job import (
    ADAM_EPSILON,
    BETA,
    LEARNING_RATE,
    MAX_GRADIENT_NORM,
    Found,
    Job,
    Meter,
    reward,
    seed_adapters,
)
from benchmarks.rloo_vs_trl.prompts import Question
from safetensors.torch import save_file
from torch.optim import AdamW

from spavl.config import LoraSettings
from spavl.models.generation import Generated
from spavl.models.loading import Vlm
from spavl.rl_config import FixedKlConfig, LocalConfig, RlConfig, RuleRewardConfig
from spavl.train.checkpoint import TrainingState
from spavl.train.families import family_of
from spavl.train.render import Row
from spavl.train.rl.loop import Learner, Material, run_rounds
from spavl.train.rl.rewards import Scored, WeightedReward
from spavl.train.rl.roles import Base, open_roles
from spavl.train.rl.rollouts import Score
from spavl.train.rl.sampling import LocalSampler

ROOM = 2048
"""Tokens of a packed row: one prompt's answers; more at once are no faster."""
LORA = LoraSettings(rank=16, alpha=32)


class MeteredReward(NamedTuple):
    """The reward, which reads the clock."""

    meter: Meter

    def __call__(self, scored: Scored) -> list[Score]:
        """Returns what each answer is worth."""
        self.meter.rewarded()
        return [reward(rollout.tokens) for rollout in scored.rollouts]


class MeteredSampler(NamedTuple):
    """The library's sampler with its time counted; or answers that are given."""

    sampler: LocalSampler
    meter: Meter
    given: dict[str, list[list[int]]] | None

    @property
    def at_once(self) -> int:
        """Answers of one batch."""
        return self.sampler.at_once

    def follow(self, number: int) -> None:
        """Nothing has to follow."""

    def sample(self, asked: Sequence[Row], seed: int) -> list[Generated]:
        """Returns an answer to each row's prompt."""
        if self.given is not None:
            return [Generated(tuple(self.given[row.id].pop()), ended=False) for row in asked]
        with self.meter.generation():
            return self.sampler.sample(asked, seed)


def settings(job: Job) -> RlConfig:
    """Returns the run's settings; their rates and the order of the prompts are the other side's too."""
    return RlConfig(
        method="rloo",
        model="bench",
        lora=LORA,
        reward=(RuleRewardConfig(kind="rule", name="even"),),
        rollouts=LocalConfig(batch_size=job.prompts * job.answers),
        kl=FixedKlConfig(weight=BETA),
        prompts_per_round=job.prompts,
        answers_per_prompt=job.answers,
        max_tokens=job.tokens,
        minibatch_size=job.prompts * job.answers,
        no_end_penalty=0.0,
        no_end_rounds=job.steps + 1,
        scale_rewards=False,
        centre_rewards=False,
        learning_rate=LEARNING_RATE,
        max_grad_norm=MAX_GRADIENT_NORM / job.tokens,
        save_every=job.steps,
        tokens_per_forward=ROOM,
        max_length=ROOM,
        dtype="float32",
        cache=Path(job.folder) / "cache",
    )


def train_spavl(job: Job, model: Any, processor: WordProcessor, questions: Sequence[Question], output: Path) -> Found:  # noqa: ANN401
    """Trains."""
    config, folder = settings(job), Path(job.folder)
    base = Base(Vlm(model, processor), family_of(model), folder, lambda image: folder / f"{image}.png")
    roles = open_roles(base, config, 0, None)
    seed_adapters(roles.policy.peft)
    meter = Meter(model.get_decoder())
    given = json.loads(job.trained_on.read_text()) if job.proof else None
    optimizer = AdamW(roles.parameter_groups(config), eps=ADAM_EPSILON / job.tokens, fused=True)
    learner = Learner(
        roles=roles,
        state=TrainingState(roles.trainable(), optimizer),
        sampler=MeteredSampler(LocalSampler(roles.actor, config, ()), meter, given),
        output=output,
        rollouts=output / "rollouts",
    )
    material = Material(
        prompts=[question.prompt for question in questions],
        rows=[question.row for question in questions],
        rewards=[WeightedReward("even", MeteredReward(meter), 1.0)],
        cost=None,
        imitated=[],
        decode=lambda tokens: processor.tokenizer.decode(list(tokens)),
    )
    run_rounds(learner, material, config, seed=0)
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    if job.proof:
        save_file({name: one.detach() for name, one in roles.trainable().items()}, job.adapters)
    return meter.found([line["grad_norm"] * job.tokens for line in lines])
