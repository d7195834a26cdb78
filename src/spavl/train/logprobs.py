"""Log-probabilities of answers: the one place where a model is run for training.

A packed row of trees passes the language model once; only the positions that predict an answer token are projected to
the vocabulary. Positions and masks come from the layout, never from token values: an end token may be the padding.
Shapes: T tokens of the packed row, N answer tokens, A answers, C position components, H hidden.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor

from spavl.train.attention import Layout, tree_attention
from spavl.train.families import Encoded, Family
from spavl.train.head import target_logprobs
from spavl.train.last_layer import narrowed
from spavl.train.loss_formulas import PairLogprobs
from spavl.train.recompute import cheap_recomputed
from spavl.train.tree import PackedTrees

Pictures = Callable[[str], Encoded]
"""Image id -> the picture as the language model takes it in."""


class AnswerLogprobs(NamedTuple):
    """log π of every token of every answer of a packed row, natural logarithm."""

    per_token: Tensor  # (N,), answer after answer
    lengths: tuple[int, ...]  # (A,)

    def split(self) -> tuple[Tensor, ...]:
        """Returns one tensor an answer."""
        return torch.split(self.per_token, list(self.lengths))


def tree_states(
    model: Any,  # noqa: ANN401  # untyped library
    family: Family,
    packed: PackedTrees,
    pictures: Pictures,
    places: Sequence[int],
    *,
    flex: bool = False,
) -> Tensor:
    """Runs a packed row through the language model.

    Args:
        model: A `...ForConditionalGeneration` of transformers, with or without adapters in it.
        family: What is known of its kind.
        packed: The row.
        pictures: Gives the pictures' features, so that no tower is run here.
        places: Positions in the row.
        flex: Whether FlexAttention computes attention (CUDA).

    Returns:
        The hidden states of these positions after the final norm, (places, H).
    """
    device = model.device
    shown = [pictures(image_id) for _, image_id in packed.pictures]
    blocks = tuple(
        (segment.start + first, segment.start + last)
        for segment in packed.segments
        for first, last in family.bidirectional_spans(model, packed.tokens[segment.start : segment.end])
    )
    language = family.language(model)
    read = narrowed(language, places, added=max(len(picture.deepstack) for picture in shown))
    wanted = None if read is None else torch.tensor(read, device=device)
    recomputed = cheap_recomputed() if torch.is_grad_enabled() else nullcontext()
    with tree_attention(language), recomputed:
        hidden = model.base_model(
            input_ids=torch.tensor([packed.tokens], device=device),
            position_ids=tree_positions(model, family, packed, shown).to(device),
            mm_encoder_outputs=family.encoder_outputs(shown),
            use_cache=False,
            tree=Layout(packed.segments, blocks, wanted, flex),
        ).last_hidden_state[0]  # (T, H), or (wanted, H)
    if read is not None:
        order = {place: number for number, place in enumerate(read)}
        places = [order[place] for place in places]
    states: Tensor = hidden.index_select(0, torch.tensor(places, device=device))
    return states


def tree_logprobs(
    model: Any,  # noqa: ANN401  # untyped library
    family: Family,
    packed: PackedTrees,
    pictures: Pictures,
    *,
    flex: bool = False,
) -> AnswerLogprobs:
    """Runs a packed row through the model, and returns the log-probabilities of its answers' tokens.

    Args:
        model: A `...ForConditionalGeneration` of transformers, with or without adapters in it.
        family: What is known of its kind.
        packed: The row.
        pictures: Gives the pictures' features.
        flex: Whether FlexAttention computes attention (CUDA).
    """
    states = tree_states(model, family, packed, pictures, predicting_places(packed), flex=flex)  # (N, H)
    targets = torch.tensor([token for answer in packed.answers for token in answer.tokens], device=model.device)
    per_token = target_logprobs(states, model.get_output_embeddings().weight, targets)  # (N,)
    return AnswerLogprobs(per_token, tuple(len(answer.tokens) for answer in packed.answers))


def predicting_places(packed: PackedTrees) -> list[int]:
    """Returns the positions that predict the answers' tokens, answer after answer: P-1 … P+R-2 of P + R tokens."""
    return [place for answer in packed.answers for place in answer.predicting]


def tree_positions(model: Any, family: Family, packed: PackedTrees, shown: Sequence[Encoded]) -> Tensor:  # noqa: ANN401
    """Returns the position ids of a packed row, (C, 1, T), or (1, T) where there is one component.

    A node goes on where its parent ended, so siblings have the same positions; a node with a picture in it gets those
    that the family gives to the whole branch down to it.
    """
    with_picture = {segment: encoded for (segment, _), encoded in zip(packed.pictures, shown, strict=True)}
    columns: list[Tensor] = []  # (C, tokens of the node)
    after: list[int] = []  # the position that follows a node
    for place, (start, end, path) in enumerate(packed.segments):
        if place in with_picture:
            branch = [token for node in path for token in packed.tokens[slice(*packed.segments[node][:2])]]
            branch += packed.tokens[start:end]
            column = family.positions(model, torch.tensor(branch), with_picture[place])[:, start - end :]
        else:
            first = after[path[-1]] if path else 0
            column = torch.arange(first, first + end - start).expand(family.position_components, -1)
        columns.append(column)
        after.append(int(column.max()) + 1)
    positions = torch.cat(columns, dim=1)  # (C, T)
    return positions if family.position_components == 1 else positions[:, None]


def row_logprobs(logprobs: AnswerLogprobs, packed: PackedTrees) -> dict[int, tuple[Tensor, ...]]:
    """Returns for each row of a packed row log π(y|x) of its answers, () each."""
    return packed.by_row([tokens.sum() for tokens in logprobs.split()])


def pair_logprobs(found: Mapping[int, Sequence[Tensor]], rows: Sequence[int]) -> PairLogprobs:
    """Returns the first two answers' log π(y|x) of these rows, in their order.

    Args:
        found: Row -> log π(y|x) of its answers, () each.
        rows: Which.
    """
    return PairLogprobs(*(torch.stack([found[row][side] for row in rows]) for side in (0, 1)))
