"""A round's experience: what was answered, how likely it was, what was expected, and what each token was worth.

Log-probabilities of the policy are those of the training's own forward pass, over the very packed rows that the first
update passes through, so that its ratios are 1 to the last bit; those of sampling are used for nothing.
Shapes: B answers of the round, T tokens of the longest.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from spavl.rl_config import RlSettings
from spavl.train.advantages import (
    generalised_advantages,
    group_relative,
    leave_one_out,
    real_tokens,
    token_rewards,
    whiten,
)
from spavl.train.render import Row
from spavl.train.rl.reading import Body, Wanted, read
from spavl.train.rl.roles import Roles
from spavl.train.rl.steering import Steering


class Known(NamedTuple):
    """What the models say of a round's answers before the update; on the CPU, padded at the right."""

    rows: Sequence[Row]
    """One answer each; a prompt's answers stand side by side."""
    lengths: Tensor  # (B,)
    policy: Tensor  # (B, T) log-probabilities
    reference: Tensor  # (B, T) the same
    values: dict[str, Tensor]  # (B, T) by head
    tokens: int
    """Tokens that passed a language model for it."""

    @property
    def real(self) -> Tensor:
        """The mask (B, T), True where an answer has a token: from lengths alone."""
        return real_tokens(self.lengths, self.policy.shape[1])

    def divergence(self) -> Tensor:
        """Returns k1 of each answer, Σ_t log π - log π_ref, (B,)."""
        return torch.where(self.real, self.policy - self.reference, 0.0).sum(dim=1)


class Worth(NamedTuple):
    """What the update learns from; on the CPU."""

    advantages: Tensor  # (B, T)
    returns: dict[str, Tensor]  # (B, T) by head


class Scores(NamedTuple):
    """What a round's answers are worth, in the unit of training."""

    rewards: Tensor  # (B,)
    costs: Tensor | None  # (B,)


@torch.no_grad()
def know(roles: Roles, rows: Sequence[Row], minibatches: Sequence[Sequence[int]], temperature: float) -> Known:
    """Asks the policy, the reference and the critic about a round's answers.

    Args:
        roles: Who is asked.
        rows: One answer each.
        minibatches: The first passes of the update.
        temperature: Of sampling.
    """
    width = max(len(row.answers[0]) for row in rows)
    lengths = torch.tensor([len(row.answers[0]) for row in rows])
    dtype = torch.promote_types(roles.actor.engine.model.dtype, torch.float32)
    columns = {name: torch.zeros(len(rows), width, dtype=dtype) for name in ("policy", "reference", *roles.heads)}
    passes = [
        (roles.actor, Wanted(True, temperature, {} if roles.critic else roles.heads), "policy"),
        (roles.reference, Wanted(True, temperature), "reference"),
    ]
    if roles.critic is not None:
        passes.append((roles.critic, Wanted(values=roles.heads), ""))
    tokens = sum(_fill(body, rows, minibatches, wanted, columns, name) for body, wanted, name in passes)
    policy, reference = columns.pop("policy"), columns.pop("reference")
    return Known(rows, lengths, policy, reference, columns, tokens)


def _fill(
    body: Body,
    rows: Sequence[Row],
    minibatches: Sequence[Sequence[int]],
    wanted: Wanted,
    columns: dict[str, Tensor],
    name: str,
) -> int:
    """Runs a body over all answers, puts what is read into the columns, and returns the tokens that passed."""
    passed = 0
    with body.active():
        for places in minibatches:
            for packed in body.engine.pack(rows, places):
                passed += len(packed.tokens)
                reading = read(body, packed, wanted)
                for column, found in {name: reading.logprobs, **reading.values}.items():
                    for place, (numbers,) in packed.by_row(found).items() if found else ():
                        columns[column][place, : len(numbers)] = numbers.cpu()
    return passed


def weigh(known: Known, scores: Scores, steering: Steering, config: RlSettings) -> Worth:
    """Returns what every token was worth.

        PPO:        A by GAE over r_t = -β k1_t, + the score at the last token; whitened over the round
        RLOO, GRPO: A of every token = that of its answer, worth score - β Σ k1, among the answers to its prompt

    GRPO's price of divergence is taken from the score, as RLOO's is; in its paper it stands in the loss as k3. Where
    harm has a price, A = (A_reward - λ A_cost) / (1 + λ) (Safe-RLHF), and divergence is paid from the reward alone.

    Raises:
        ValueError: A score or a log-probability is not finite.
    """
    reward, returns = _advantages(known, scores.rewards, "reward", steering.kl.weight, config)
    found = {"reward": returns}
    if scores.costs is not None and steering.cost is not None:
        cost, found["cost"] = _advantages(known, scores.costs, "cost", 0.0, config)
        reward = (reward - steering.cost.weight * cost) / (1 + steering.cost.weight)
    if config.method == "ppo" and config.whiten:
        reward = whiten(reward, known.real)
    return Worth(reward, found)


def _advantages(known: Known, scores: Tensor, head: str, kl_weight: float, config: RlSettings) -> tuple[Tensor, Tensor]:
    """Returns advantages and returns, (B, T) each; without a critic the returns are empty."""
    real = known.real
    if config.method == "ppo":
        rewards = token_rewards(scores, known.policy, known.reference, known.lengths, kl_weight)
        return generalised_advantages(rewards, known.values[head], known.lengths, config.discount, config.smoothing)
    paid = scores.to(known.policy) - kl_weight * known.divergence()
    compare = leave_one_out if config.method == "rloo" else group_relative
    advantages = torch.zeros_like(paid)
    for members in groups(known.rows):
        if len(members) > 1:  # an answer whose rivals nobody could score has nothing to be held against
            advantages[members] = compare(paid[members][None])[0]
    return torch.where(real, advantages[:, None], 0.0), torch.empty(0)


def groups(rows: Sequence[Row]) -> list[list[int]]:
    """Returns the answers to each prompt."""
    found: dict[tuple[str, tuple[int, ...]], list[int]] = {}
    for place, row in enumerate(rows):
        found.setdefault((row.image_id, row.prompt), []).append(place)
    return list(found.values())
