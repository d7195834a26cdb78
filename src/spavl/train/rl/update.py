"""The update phase: a round's answers in, several epochs of minibatch steps of the policy and the critic.

A minibatch passes as packed rows, in which the answers to one prompt share its picture and question. Sums are divided
by the tokens of the whole minibatch, so that neither padding nor the way it is cut changes a gradient.
Shapes: b answers of a packed row, T tokens of the longest of them.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from spavl.errors import RunError
from spavl.rl_config import RlConfig
from spavl.train.checkpoint import TrainingState
from spavl.train.ppo_losses import policy_loss, value_loss
from spavl.train.render import Row
from spavl.train.rl.experience import Known, Worth
from spavl.train.rl.reading import Body, Wanted, read
from spavl.train.rl.roles import Roles
from spavl.train.sharding import clip_gradients
from spavl.train.tree import PackedTrees, plan_epoch, row_tokens


class Round(NamedTuple):
    """What one round's update works on."""

    known: Known
    worth: Worth
    plans: Sequence[Sequence[Sequence[int]]]
    """For each inner epoch its minibatches, as places of answers."""
    policy_rests: bool
    """Whether the critic alone learns."""
    imitated: Sequence[Row]
    """Answers that are imitated beside the reward; empty for none."""


@dataclass
class UpdateFigures:
    """What an update did; sums over its steps."""

    steps: int = 0
    stopped: bool = False
    """Whether it ended early, the policy having moved too far."""
    policy_losses: list[float] = field(default_factory=list)
    value_losses: list[float] = field(default_factory=list)
    imitation_losses: list[float] = field(default_factory=list)
    clipped: list[float] = field(default_factory=list)
    moved: list[float] = field(default_factory=list)
    """k3 in nats a token, before each step."""
    norms: list[float] = field(default_factory=list)
    tokens: int = 0
    row_tokens: int = 0
    """Tokens that would have passed with a row for every answer."""


def plan_round(rows: Sequence[Row], config: RlConfig, seed: str) -> list[list[list[int]]]:
    """Returns the minibatches of every inner epoch; a prompt's answers stay side by side."""
    return [
        plan_epoch(rows, config.minibatch_size, None, random.Random(f"{seed}/{epoch}"))
        for epoch in range(config.inner_epochs)
    ]


def update(roles: Roles, state: TrainingState, work: Round, config: RlConfig, factor: float) -> UpdateFigures:
    """Takes a round's steps.

    Args:
        roles: Who learns.
        state: Their weights and optimiser.
        work: What they learn from.
        config: Settings.
        factor: Share of every learning rate.

    Raises:
        RunError: The first step's ratios are not 1, or a loss or gradient is not finite; then nothing was updated.
    """
    figures = UpdateFigures()
    for group in state.optimizer.param_groups:
        rests = work.policy_rests and group["part"] != "critic"
        group["lr"] = 0.0 if rests else group["initial_lr"] * factor
    share = iter(_shares(work.imitated, sum(map(len, work.plans))))
    for minibatches in work.plans:
        for places in minibatches:
            moved = _accumulate(roles, work, places, config, figures)
            if config.max_update_kl is not None and moved > config.max_update_kl:
                state.optimizer.zero_grad(set_to_none=True)
                figures.stopped = True
                return figures
            if config.ptx is not None and not work.policy_rests:
                _imitate(roles.actor, next(share), config, figures)
            _step(roles, state, config, figures)
    return figures


def _accumulate(roles: Roles, work: Round, places: Sequence[int], config: RlConfig, figures: UpdateFigures) -> float:
    """Runs a minibatch forward and backward, and returns how far the policy has moved, in nats a token."""
    total = int(work.known.lengths[list(places)].sum())
    rows = work.known.rows
    parts = [
        _actor_pass(roles, work, packed, config, total, first=not figures.steps)
        for packed in roles.actor.engine.pack(rows, places)
    ]
    if roles.critic is not None:
        for packed in roles.critic.engine.pack(rows, places):
            parts.append(_critic_pass(roles, work, packed, config, total))
    loss, value, clipped, moved, tokens = (math.fsum(column) for column in zip(*parts, strict=True))
    figures.policy_losses.append(loss)
    figures.value_losses.append(value)
    figures.clipped.append(clipped)
    figures.moved.append(moved)
    figures.tokens += int(tokens)
    figures.row_tokens += sum(row_tokens(rows[place]) for place in places) * (2 if roles.critic else 1)
    return moved


Parts = tuple[float, float, float, float, int]
"""Of a pass: policy loss, value loss, share clipped, k3, tokens."""


def _actor_pass(roles: Roles, work: Round, packed: PackedTrees, config: RlConfig, total: int, *, first: bool) -> Parts:
    body, known = roles.actor, work.known
    shared = {} if roles.critic else roles.heads
    with torch.set_grad_enabled(not work.policy_rests or bool(shared)), body.active():
        reading = read(body, packed, Wanted(True, config.temperature, shared))
        places, now = _padded(packed, reading.logprobs)
        then, real, advantages = (_cut(one, places, now) for one in (known.policy, known.real, work.worth.advantages))
        if first:
            _check_first(now, then, real)
        found = policy_loss(now, then, advantages, real, config.clip, total)
        loss = found.loss * (0.0 if work.policy_rests else 1.0)
        value = _value_loss(reading.values, packed, work, config, total)
        if value is not None:
            loss = loss + config.critic.value_weight * value
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]  # untyped in torch
    return (
        float(found.loss.detach()),
        0.0 if value is None else float(value.detach()),
        float(found.clipped),
        float(found.kl),
        len(packed.tokens),
    )


def _critic_pass(roles: Roles, work: Round, packed: PackedTrees, config: RlConfig, total: int) -> Parts:
    assert roles.critic is not None  # who calls it has seen to it
    with roles.critic.active():
        reading = read(roles.critic, packed, Wanted(values=roles.heads))
        value = _value_loss(reading.values, packed, work, config, total)
        assert value is not None  # a critic has a head
        (config.critic.value_weight * value).backward()  # type: ignore[no-untyped-call]  # untyped in torch
    return 0.0, float(value.detach()), 0.0, 0.0, len(packed.tokens)


def _value_loss(
    values: Mapping[str, Sequence[Tensor]], packed: PackedTrees, work: Round, config: RlConfig, total: int
) -> Tensor | None:
    """Returns the sum of the heads' losses, or None where there is no head."""
    losses = []
    for name, found in values.items():
        places, now = _padded(packed, found)
        then, returns, real = (
            _cut(one, places, now) for one in (work.known.values[name], work.worth.returns[name], work.known.real)
        )
        losses.append(value_loss(now, then, returns, real, config.critic.clip, total))
    return torch.stack(losses).sum() if losses else None


def _padded(packed: PackedTrees, found: Sequence[Tensor]) -> tuple[list[int], Tensor]:
    """Returns the packed row's answers as places of the round, and what was read of them as (b, T)."""
    by_row = packed.by_row(found)
    places = sorted(by_row)
    return places, torch.nn.utils.rnn.pad_sequence([by_row[place][0] for place in places], batch_first=True)


def _cut(whole: Tensor, places: Sequence[int], like: Tensor) -> Tensor:
    """Returns some answers' part of a round's tensor, (b, T), where the pass computes."""
    return whole[list(places), : like.shape[1]].to(like.device)


def _check_first(now: Tensor, then: Tensor, real: Tensor) -> None:
    off = float((now.detach() - then)[real].abs().max())
    if off:
        raise RunError(
            f"The policy that is updated is not the one that answered: before the first step their log-probabilities "
            f"differ by up to {off:.3g} nats, and should not at all. Nothing was updated. This is a bug."
        )


def _imitate(body: Body, rows: Sequence[Row], config: RlConfig, figures: UpdateFigures) -> None:
    """Adds the gradient of imitating answers, -Σ log π / tokens, weighted (InstructGPT's pretraining mix)."""
    assert config.ptx is not None  # who calls it has seen to it
    total = sum(len(row.answers[0]) for row in rows)
    sums = []
    with body.active():
        for packed in body.engine.pack(rows, range(len(rows))):
            reading = read(body, packed, Wanted(logprobs=True))
            loss = -torch.cat([one for (one,) in packed.by_row(reading.logprobs).values()]).sum() / total
            (config.ptx.weight * loss).backward()  # type: ignore[no-untyped-call]  # untyped in torch
            sums.append(float(loss.detach()))
            figures.tokens += len(packed.tokens)
    figures.row_tokens += sum(map(row_tokens, rows))
    figures.imitation_losses.append(sum(sums))


def _shares(rows: Sequence[Row], steps: int) -> list[Sequence[Row]]:
    """Deals rows out to the steps of a round."""
    size = len(rows) // steps
    return [rows[step * size : (step + 1) * size] for step in range(steps)]


def _step(roles: Roles, state: TrainingState, config: RlConfig, figures: UpdateFigures) -> None:
    for parameter in state.parameters.values():
        if parameter.grad is None:  # who rests has a gradient of nothing, so that the optimiser knows it
            parameter.grad = torch.zeros_like(parameter)
    norms = [
        clip_gradients(part, config.max_grad_norm) for part in (roles.policy.trainable(), roles.critic_weights) if part
    ]
    total = sum(norms) + figures.policy_losses[-1] + figures.value_losses[-1]
    if not torch.tensor(total).isfinite():
        raise RunError(
            f"A step's loss is {figures.policy_losses[-1]} (policy) and {figures.value_losses[-1]} (critic), its "
            f"gradient norms {norms}. It was not taken; the round's answers are kept. Try a lower learning_rate, or "
            "dtype=float32, together with --restart-from train."
        )
    state.optimizer.step()
    state.optimizer.zero_grad(set_to_none=True)
    figures.norms.append(norms[0])
    figures.steps += 1
