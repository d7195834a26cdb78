"""Log-probabilities of answers: the one place where a model is run for training.

Only the positions that predict an answer token are projected to the vocabulary, and the softmax is taken in float32
or better. Masks come from lengths, never from token values: an end token may be the padding.
Shapes: B sequences, T tokens, R answer positions, N answer tokens of the batch, H hidden, P picture tokens.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers.modeling_outputs import BaseModelOutputWithPooling

from spavl.train.losses import PairLogprobs, summed
from spavl.train.render import Row

Features = Callable[[str], list[Tensor]]
"""Image id -> the projected picture, one tensor (P, H) for each picture of the prompt."""


class PromptAnswer(NamedTuple):
    """One prompt with one answer."""

    image_id: str
    prompt: tuple[int, ...]
    answer: tuple[int, ...]


class Batch(NamedTuple):
    """Sequences padded on the right, so that padding changes neither positions nor what a token sees."""

    input_ids: Tensor  # (B, T)
    attention_mask: Tensor  # (B, T), True at tokens of the sequence
    answer_ids: Tensor  # (B, R)
    answer_mask: Tensor  # (B, R), True at answer tokens
    predicting: Tensor  # (B, R), the position whose hidden state predicts the answer token
    image_ids: tuple[str, ...]


def collate(sequences: Sequence[PromptAnswer]) -> Batch:
    """Pads the sequences on the right; what the padding is does not matter, for masks come from lengths."""
    prompts = torch.tensor([len(sequence.prompt) for sequence in sequences])
    answers = torch.tensor([len(sequence.answer) for sequence in sequences])
    filler = sequences[0].answer[-1]

    def padded(rows: list[tuple[int, ...]]) -> Tensor:
        return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=filler)

    input_ids = padded([sequence.prompt + sequence.answer for sequence in sequences])  # (B, T)
    answer_ids = padded([sequence.answer for sequence in sequences])  # (B, R)
    offsets = torch.arange(answer_ids.shape[1])
    return Batch(
        input_ids=input_ids,
        attention_mask=torch.arange(input_ids.shape[1]) < (prompts + answers)[:, None],
        answer_ids=answer_ids,
        answer_mask=offsets < answers[:, None],
        predicting=(prompts[:, None] - 1 + offsets).clamp(max=input_ids.shape[1] - 1),
        image_ids=tuple(sequence.image_id for sequence in sequences),
    )


def answer_logprobs(model: Any, batch: Batch, features: Features) -> Tensor:  # noqa: ANN401  # untyped library
    """Returns the log-probability of each answer token, (B, R), and 0 outside the answer mask.

    Args:
        model: A `...ForConditionalGeneration` of transformers, with or without adapters in it.
        batch: The padded sequences.
        features: Gives the projected pictures, so that the tower is not run here.
    """
    device = model.device
    pictures = [tensor for image_id in batch.image_ids for tensor in features(image_id)]
    hidden = model.base_model(
        input_ids=batch.input_ids.to(device),
        attention_mask=batch.attention_mask.to(device, torch.long),
        mm_encoder_outputs={"image": BaseModelOutputWithPooling(pooler_output=pictures)},
        use_cache=False,
    ).last_hidden_state  # (B, T, H)
    sequence, answer = batch.answer_mask.nonzero(as_tuple=True)  # (N,), (N,)
    states = hidden[sequence.to(device), batch.predicting[sequence, answer].to(device)]  # (N, H)
    logits = model.get_output_embeddings()(states)  # (N, vocabulary)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    targets = batch.answer_ids[sequence, answer].to(device)  # (N,)
    logprobs: Tensor = logits.gather(1, targets[:, None]).squeeze(1) - logits.logsumexp(dim=1)  # (N,)
    mask = batch.answer_mask.to(device)
    return logprobs.new_zeros(mask.shape).masked_scatter(mask, logprobs)


def pair_logprobs(model: Any, rows: Sequence[Row], features: Features) -> PairLogprobs:  # noqa: ANN401  # untyped library
    """Returns the summed log-probabilities of both answers of each row; all answers pass in one forward."""
    chosen = [PromptAnswer(row.image_id, row.prompt, row.chosen) for row in rows]
    rejected = [PromptAnswer(row.image_id, row.prompt, row.rejected) for row in rows]
    batch = collate(chosen + rejected)
    per_token = answer_logprobs(model, batch, features)  # (2B, R)
    totals = summed(per_token, batch.answer_mask.to(per_token.device))  # (2B,)
    return PairLogprobs(totals[: len(rows)], totals[len(rows) :])


def length_sorted_groups(rows: Sequence[Row], indices: Sequence[int], size: int) -> list[list[int]]:
    """Cuts the indices into groups of rows of similar length, which keeps padding short; the cut is deterministic."""
    ordered = sorted(indices, key=lambda index: (rows[index].length, index))
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]
