"""Aligns the projector with the word embeddings before the language model sees it.

The pooled projector output of a drawing is trained, by cosine similarity over all concepts, to lie
nearest the mean token embedding of its caption. Minutes, not hours: it reads stored features only.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from recipes.mini_vlm.data import Drawing
from recipes.mini_vlm.model import Projector
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

TEMPERATURE = 0.05
BATCH = 256
EXTRA = 64
PEAK_RATES = {True: 2e-3, False: 1e-3}


def caption_embeddings(captions: Sequence[str], tokenizer: PreTrainedTokenizerFast, table: Tensor) -> Tensor:
    """Returns the mean token embedding of each caption, (C, 576), centred on all captions."""
    rows = []
    for caption in captions:
        ids = tokenizer(" " + caption, add_special_tokens=False).input_ids
        rows.append(table[torch.tensor(ids)].float().mean(dim=0))
    return torch.stack(rows)


def warm_start(
    projector: Projector,
    drawings: Sequence[Drawing],
    stores: Sequence[Path],
    targets: tuple[list[str], Tensor],
    epochs: int,
    extra: tuple[Path, list[str]] | None = None,
) -> None:
    """Trains the projector in place; prints the validation accuracy over all concepts.

    Args:
        projector: what is trained.
        drawings: all drawings, in the order of the stores.
        stores: one file of features per pass; the first is the plain one.
        targets: captions and their embeddings.
        epochs: number of passes over one store each.
        extra: further features with their captions, mixed into every batch. Without it only the
            grid's mean is shown, sixteen times cheaper and nearly as good.
    """
    captions, embeddings = targets
    number = {caption: i for i, caption in enumerate(captions)}
    labels = torch.tensor([number[d.caption] for d in drawings])
    train = np.array([i for i, d in enumerate(drawings) if d.split == "train"])
    held = np.array([i for i, d in enumerate(drawings) if d.split == "validation"])
    pooled = extra is None
    more, more_labels = np.zeros((0, 16, 1280), np.float16), torch.zeros(0, dtype=torch.long)
    if extra is not None:
        more = np.load(extra[0], mmap_mode="r")[: len(extra[1])]
        more_labels = torch.tensor([number[caption] for caption in extra[1]])
    centred = nn.functional.normalize(embeddings - embeddings.mean(0), dim=-1)
    centre = embeddings.mean(0)
    optimiser = torch.optim.AdamW(projector.parameters(), lr=1e-3, weight_decay=0.05)
    steps = epochs * (len(train) // BATCH + 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK_RATES[pooled], total_steps=steps)
    rng, began = np.random.default_rng(0), time.monotonic()
    loaded = [np.load(store, mmap_mode="r") for store in stores]

    def logits(grid: Tensor) -> Tensor:
        shown = projector(grid).mean(dim=1) - centre
        return nn.functional.normalize(shown, dim=-1) @ centred.T / TEMPERATURE

    if pooled:
        loaded = [store.mean(axis=1, keepdims=True, dtype=np.float32) for store in loaded]
    for epoch in range(epochs):
        store = loaded[epoch % len(loaded)]
        order = rng.permutation(train)
        total = 0.0
        for start in range(0, len(order), BATCH):
            chosen = np.sort(order[start : start + BATCH])
            added = rng.choice(len(more), min(len(more), EXTRA), replace=False)
            shown = np.concatenate([store[chosen], more[added]]) if len(more) else store[chosen]
            grid = nn.functional.dropout(torch.from_numpy(shown).float(), 0.2)
            wanted = torch.cat([labels[chosen], more_labels[added]])
            with torch.autocast("cpu", torch.bfloat16):
                loss = nn.functional.cross_entropy(logits(grid).float(), wanted, label_smoothing=0.1)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += float(loss.detach()) * len(chosen)
        with torch.inference_mode():
            guessed = logits(torch.from_numpy(loaded[0][held]).float()).argmax(-1)
        accuracy = (guessed == labels[held]).float().mean()
        print(
            f"warm start {epoch} loss {total / len(order):.3f} validation {accuracy:.3f} "
            f"of {len(held)} ({time.monotonic() - began:.0f} s)",
            flush=True,
        )


@torch.no_grad()
def rescale(projector: Projector, grid: Tensor, table: Tensor) -> None:
    """Scales the projector so that its outputs spread as word embeddings do."""
    factor = float(table.float().std()) / float(projector(grid).std())
    projector.linear_2.weight.mul_(factor)
    projector.linear_2.bias.mul_(factor)
    print(f"projector output scaled by {factor:.3f}")
