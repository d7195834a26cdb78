"""Generates for many prompts at once; those that share a picture, or a beginning, have it read once.

Any loaded model of `prefixes.SHARING` will do, in training too: it takes token ids and what shows the pictures, and
knows no text. Greedy answers are those of transformers' `generate`, row by row, up to rounding.
Shapes: B rows, V tokens of the vocabulary.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from spavl.models.prefixes import Model, Prompt, Read, Shown, batches, read, step


class Decoding(NamedTuple):
    """How answers are written."""

    max_tokens: int
    stop_ids: tuple[int, ...]
    """Tokens that end an answer."""
    temperature: float = 0.0
    """0 is greedy."""
    top_p: float = 1.0
    suppressed: tuple[int, ...] = ()
    """Tokens that are never written."""
    repetition_penalty: float = 1.0
    """Divides the odds of tokens that stand in prompt or answer already (arXiv 1909.05858, section 4.1); 1 is none."""


class Generated(NamedTuple):
    """An answer."""

    tokens: tuple[int, ...]
    """Its stop token included, if it has one."""
    ended: bool
    """Whether it ended by itself, not at its limit."""


@torch.no_grad()
def generate(
    model: Model, prompts: Sequence[Prompt], shown: Shown, decoding: Decoding, generator: torch.Generator | None = None
) -> list[Generated]:
    """Answers the prompts, in order; for several samples of one, give it several times.

    Args:
        model: A model for which `why_not` has no objection, in evaluation mode.
        prompts: What is answered.
        shown: What shows the model a picture; asked once for every picture, or beginning of prompts with it.
        decoding: How answers are written.
        generator: Decides what is sampled, on the model's device; without it torch's own.
    """
    answers: dict[int, Generated] = {}
    for rows in batches(model, prompts, decoding.max_tokens):
        listed = [prompts[row] for row in rows]
        writing = _Writing(listed, decoding, generator)
        answers |= dict(zip(rows, writing.run(model, read(model, listed, shown)), strict=True))
    return [answers[row] for row in range(len(prompts))]


class _Writing:
    """The answers of one batch while they are written; rows that ended are dropped as soon as they are half of it."""

    def __init__(self, prompts: Sequence[Prompt], decoding: Decoding, generator: torch.Generator | None) -> None:
        self._prompts, self._decoding, self._generator = prompts, decoding, generator
        self._tokens: list[list[int]] = [[] for _ in prompts]
        self._ended = [False] * len(prompts)
        self._rows = list(range(len(prompts)))
        """Which answer each row of the batch is."""

    def run(self, model: Model, begun: Read) -> list[Generated]:
        cache, mask, position, logits = begun
        seen = self._seen(logits)
        for place in range(self._decoding.max_tokens):
            chosen = choose(_shaped(logits, seen, self._decoding), self._decoding, self._generator)  # (B,)
            self._keep(chosen.tolist())
            open_ = [at for at, row in enumerate(self._rows) if not self._ended[row]]
            if not open_ or place + 1 == self._decoding.max_tokens:
                break
            if 2 * len(open_) <= len(self._rows):
                kept = torch.tensor(open_, device=chosen.device)
                cache.batch_select_indices(kept)
                self._rows = [self._rows[at] for at in open_]
                mask, position, chosen = mask[kept], position[kept], chosen[kept]
                seen = None if seen is None else seen[kept]
            if seen is not None:
                seen.scatter_(1, chosen[:, None], True)
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
            logits = step(model, cache, chosen[:, None], mask, position[:, None])
            position = position + 1
        return [Generated(tuple(tokens), ended) for tokens, ended in zip(self._tokens, self._ended, strict=True)]

    def _keep(self, chosen: Sequence[int]) -> None:
        for row, token in zip(self._rows, chosen, strict=True):
            if not self._ended[row]:
                self._tokens[row].append(token)
                self._ended[row] = token in self._decoding.stop_ids

    def _seen(self, logits: Tensor) -> Tensor | None:
        """Returns (B, V), True where a token stands in the prompt; None if nobody asks."""
        if self._decoding.repetition_penalty == 1:
            return None
        seen = torch.zeros_like(logits, dtype=torch.bool)
        for row, prompt in enumerate(self._prompts):
            seen[row, torch.tensor(prompt.ids, device=logits.device)] = True
        return seen


def _shaped(logits: Tensor, seen: Tensor | None, decoding: Decoding) -> Tensor:
    if seen is not None:
        penalty = decoding.repetition_penalty
        logits = torch.where(seen, torch.where(logits < 0, logits * penalty, logits / penalty), logits)
    if decoding.suppressed:
        logits[:, list(decoding.suppressed)] = -torch.inf
    return logits


def choose(logits: Tensor, decoding: Decoding, generator: torch.Generator | None = None) -> Tensor:
    """Returns the next token of each row, (B,): the likeliest, or one drawn from the likeliest that hold `top_p`.

    Nucleus sampling (arXiv 1904.09751, section 3.1): the fewest tokens whose probabilities add up to `top_p`.
    """
    if decoding.temperature == 0:
        return logits.argmax(dim=-1)
    shares = (logits / decoding.temperature).softmax(dim=-1)  # (B, V)
    if decoding.top_p == 1:
        return _drawn(shares, generator)
    shares, order = shares.sort(dim=-1, descending=True)
    before = shares.cumsum(dim=-1) - shares
    return order.gather(1, _drawn(shares.masked_fill(before >= decoding.top_p, 0.0), generator)[:, None])[:, 0]


def _drawn(shares: Tensor, generator: torch.Generator | None) -> Tensor:
    """Returns the column, (B,), that a number drawn for each row falls into, each as wide as its share; none of 0."""
    ends = shares.cumsum(dim=-1)  # (B, V)
    drawn = torch.rand((len(shares), 1), generator=generator, device=shares.device) * ends[:, -1:]
    found = torch.searchsorted(ends, drawn, right=True)[:, 0]
    last = shares.shape[-1] - 1 - (shares.flip(-1) > 0).int().argmax(dim=-1)  # where rounding makes `drawn` the whole
    return torch.minimum(found, last)
