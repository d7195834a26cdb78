"""One optimisation step's worth of DPO: the pairs of a batch in, gradients and numbers to log out."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from spavl.config import TrainConfig
from spavl.train.logprobs import Features, length_sorted_groups, pair_logprobs
from spavl.train.losses import PairLogprobs, dpo_losses, sft_losses
from spavl.train.policy import Policy
from spavl.train.render import Row


class TrainingPairs(NamedTuple):
    """What is trained on; rows and reference log-probabilities stand in the same order."""

    rows: Sequence[Row]
    reference: PairLogprobs
    features: Features
    """Image id -> projected picture."""

    def select(self, indices: Sequence[int]) -> "TrainingPairs":
        """Returns the pairs at these places."""
        places = list(indices)
        reference = PairLogprobs(self.reference.chosen[places], self.reference.rejected[places])
        return TrainingPairs([self.rows[place] for place in places], reference, self.features)


class BatchMetrics(NamedTuple):
    """Means over the pairs of a batch, before its update."""

    loss: float
    """The preference loss, and the weighted loss of the chosen answer where there is one."""
    reward_margin: float
    """Chosen minus rejected reward, in nats times β."""
    accuracy: float
    """Share of pairs whose chosen reward is the greater one."""
    chosen_logprob: float
    """Nats an answer."""
    rejected_logprob: float
    """Nats an answer."""
    chosen_shift: float
    """Chosen log-probability minus the reference's: below zero, the preferred answers are becoming less likely."""
    tokens: int
    """Tokens that passed the language model, padding not counted."""


def accumulate_gradients(policy: Policy, batch: TrainingPairs, config: TrainConfig) -> BatchMetrics:
    """Runs a batch forward and backward, in groups of similar length; gradients add up in the parameters.

    The loss is the mean over the batch's pairs, however it is cut into groups.
    """
    count = len(batch.rows)
    columns: list[Tensor] = []
    for places in length_sorted_groups(batch.rows, range(count), config.micro_batch_size):
        group = batch.select(places)
        logprobs = pair_logprobs(policy.model, group.rows, group.features)
        device = logprobs.chosen.device
        reference = PairLogprobs(*(side.to(device) for side in group.reference))
        losses = dpo_losses(logprobs, reference, config.beta)
        lengths = torch.tensor([len(row.chosen) for row in group.rows], device=device)
        total = losses.loss + config.sft_weight * sft_losses(logprobs, lengths)  # (B,)
        (total.sum() / count).backward()  # type: ignore[no-untyped-call]  # untyped in torch
        margin = losses.chosen_reward - losses.rejected_reward
        shift = logprobs.chosen - reference.chosen
        columns.append(
            torch.stack([total, margin, (margin > 0).float(), logprobs.chosen, logprobs.rejected, shift]).detach()
        )
    means = torch.cat(columns, dim=1).double().mean(dim=1).tolist()  # (6,)
    return BatchMetrics._make([*means, sum(row_tokens(row) for row in batch.rows)])


def row_tokens(row: Row) -> int:
    """Returns the tokens of both sequences of a pair."""
    return 2 * len(row.prompt) + len(row.chosen) + len(row.rejected)
