"""Trains projector and LoRA on stored features within a wall-clock budget; resumable.

The learning rate follows the elapsed share of the budget, so a slower machine sees fewer steps but
a whole schedule. Loss is taken on answer tokens only, their places known from lengths, and the
output head is applied to those places alone. Every few minutes held-out drawings and questions are
answered, and the best state is kept.
"""

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from recipes.mini_vlm import model as parts
from recipes.mini_vlm.config import SEED, WORK
from recipes.mini_vlm.data import Drawing, load_drawings
from recipes.mini_vlm.rows import NAMING_PROMPT, VQA_VALIDATION, Row, Sampler, vqa_captions, vqa_questions
from recipes.mini_vlm.state import Progress, read_state, write_state
from recipes.mini_vlm.warm_start import caption_embeddings, rescale, warm_start
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from spavl.embedded.naming import matches

TOKENS_PER_BATCH = 1300
POOL_ROWS = 256
IMAGE_TOKENS = 16
FEATURE_DROPOUT = 0.1
PROJECTOR_RATE, LORA_RATE = 5e-4, 8e-4
WARM_UP = 0.04
FINAL_RATE = 0.05
WHOLE_EPOCHS = 4
EVALUATE_EVERY_S = 540
SAVE_EVERY_S = 150


class Encoded(NamedTuple):
    """A row as token ids: before and after the picture, and the answer with its end token."""

    row: Row
    before: list[int]
    after: list[int]
    answer: list[int]

    @property
    def length(self) -> int:
        """Number of places the row takes."""
        picture = IMAGE_TOKENS if self.row.store else 0
        return len(self.before) + picture + len(self.after) + len(self.answer)


@dataclass
class Trainer:
    """The parts of one run and how far it has come."""

    projector: parts.Projector
    adapted: nn.Module
    tokenizer: parts.PreTrainedTokenizerFast
    budget_s: float
    stores: dict[str, np.ndarray]
    optimiser: torch.optim.Optimizer
    elapsed_s: float = 0.0
    step: int = 0
    best: float = -1.0
    losses: list[float] = field(default_factory=list)

    @property
    def table(self) -> nn.Module:
        """The word embedding."""
        return self.adapted.model.embed_tokens

    def encoded(self, row: Row) -> Encoded:
        """Tokenises one row in ChatML, without a system turn."""
        ids = self.tokenizer
        before = ids("<|im_start|>user\n", add_special_tokens=False).input_ids
        tail = f"{row.question}<|im_end|>\n<|im_start|>assistant\n"
        after = ids(("\n" if row.store else "") + tail, add_special_tokens=False).input_ids
        if not row.store:
            after = ids("<|im_start|>user\n" + tail, add_special_tokens=False).input_ids
            before = []
        answer = ids(row.answer + "<|im_end|>", add_special_tokens=False).input_ids
        return Encoded(row, before, after, answer)

    def grids(self, rows: list[Row], dropout: bool) -> Tensor:
        """Returns projected features of the rows' pictures, (B, 16, 576)."""
        grid = torch.from_numpy(np.stack([self.stores[r.store][r.index] for r in rows])).float()
        if dropout:
            flipped = torch.rand(len(rows)) < 0.3
            square = grid.view(-1, 4, 4, parts.VISION)
            grid = torch.where(flipped[:, None, None, None], square.flip(2), square).flatten(1, 2)
            grid = nn.functional.dropout(grid, FEATURE_DROPOUT)
        return self.projector(grid)

    def embeds(self, batch: list[Encoded], dropout: bool) -> Tensor:
        """Returns the right-padded input embeddings, (B, T, 576)."""
        with_picture = [e.row for e in batch if e.row.store]
        grids = iter(self.grids(with_picture, dropout)) if with_picture else iter(())
        longest = max(e.length for e in batch)
        rows = []
        for item in batch:
            words = self.table(torch.tensor(item.before + item.after + item.answer))
            if item.row.store:
                cut = len(item.before)
                words = torch.cat([words[:cut], next(grids).to(words.dtype), words[cut:]])
            rows.append(nn.functional.pad(words, (0, 0, 0, longest - len(words))))
        return torch.stack(rows)

    def loss(self, batch: list[Encoded]) -> Tensor:
        """Returns the mean cross-entropy of the answer tokens."""
        lm, embeds = self.adapted, self.embeds(batch, dropout=True)
        hidden = lm.model(inputs_embeds=embeds, use_cache=False).last_hidden_state  # (B, T, 576)
        places, targets = [], []
        for i, item in enumerate(batch):
            start = item.length - len(item.answer) - 1
            places += [(i, start + j) for j in range(len(item.answer))]
            targets += item.answer
        at = torch.tensor(places)
        logits = lm.lm_head(hidden[at[:, 0], at[:, 1]])
        return nn.functional.cross_entropy(logits.float(), torch.tensor(targets))

    def rate(self) -> float:
        """Returns the share of the peak learning rate at the elapsed share of the budget."""
        share = min(1.0, self.elapsed_s / self.budget_s)
        if share < WARM_UP:
            return 0.1 + 0.9 * share / WARM_UP
        turn = (share - WARM_UP) / (1 - WARM_UP)
        return FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * turn))

    def take_step(self, batch: list[Encoded]) -> None:
        """Runs one optimiser step and adds its time to the elapsed time."""
        began = time.monotonic()
        for group, peak in zip(self.optimiser.param_groups, (PROJECTOR_RATE, LORA_RATE), strict=True):
            group["lr"] = peak * self.rate()
        loss = self.loss(batch)
        self.optimiser.zero_grad()
        loss.backward()
        parameters = [p for g in self.optimiser.param_groups for p in g["params"]]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        self.optimiser.step()
        self.step += 1
        self.losses = [*self.losses[-24:], float(loss.detach())]
        self.elapsed_s += time.monotonic() - began

    @torch.inference_mode()
    def answers(self, rows: list[Row], tokens: int) -> list[str]:
        """Returns greedy answers; rows are grouped by prompt length so that none is padded."""
        encoded = [self.encoded(row)._replace(answer=[]) for row in rows]
        out = [""] * len(rows)
        for length in sorted({e.length for e in encoded}):
            chosen = [i for i, e in enumerate(encoded) if e.length == length]
            embeds = self.embeds([encoded[i] for i in chosen], dropout=False)
            ids = self.adapted.generate(
                inputs_embeds=embeds,
                attention_mask=torch.ones(embeds.shape[:2], dtype=torch.long),
                max_new_tokens=tokens,
                do_sample=False,
                pad_token_id=2,
            )
            for i, text in zip(chosen, self.tokenizer.batch_decode(ids, True), strict=True):
                out[i] = text.strip()
        return out

    def save(self, name: str) -> None:
        """Writes the state atomically."""
        tensors = parts.trainable(self.projector, self.adapted)
        progress = Progress(self.elapsed_s, self.step, self.best)
        write_state(WORK / f"{name}.safetensors", tensors, self.optimiser, progress)

    def resume(self, path: Path) -> None:
        """Continues from a saved state."""
        state = read_state(path)
        parts.load_trainable(self.projector, self.adapted, state.tensors)
        state.restore(self.optimiser)
        self.elapsed_s, self.step, self.best = state.progress


def batches(trainer: Trainer, sampler: Sampler) -> Iterator[list[Encoded]]:
    """Yields batches of rows of similar length, in random order, without end."""
    while True:
        pool = sorted(map(trainer.encoded, sampler.rows(POOL_ROWS)), key=lambda e: e.length)
        made: list[list[Encoded]] = [[]]
        for item in pool:
            if (len(made[-1]) + 1) * item.length > TOKENS_PER_BATCH:
                made.append([])
            made[-1].append(item)
        sampler.rng.shuffle(made)
        yield from made


def evaluate(trainer: Trainer, drawings: list[Drawing], vqa_images: int) -> float:
    """Prints held-out accuracies and three long answers; returns naming plus half of easy-vqa."""
    trainer.adapted.eval()
    held = [i for i, d in enumerate(drawings) if d.split == "validation"][:96]
    said = trainer.answers([Row("pass_0", i, NAMING_PROMPT, "") for i in held], 14)
    naming = np.mean([matches(s, [drawings[i].caption]) for s, i in zip(said, held, strict=True)])
    asked = [q for q in vqa_questions(test=False) if q.image >= vqa_images - VQA_VALIDATION]
    asked = [q for q in asked if q.image < vqa_images][:: max(1, len(asked) // 96)][:96]
    told = trainer.answers([Row("vqa_train", q.image, q.question, "") for q in asked], 4)
    vqa = np.mean([t.strip(" .").lower() == q.answer for t, q in zip(told, asked, strict=True)])
    print(f"held-out step {trainer.step}: naming {naming:.3f} easy-vqa {vqa:.3f}", flush=True)
    for i, answer in list(zip(held, said, strict=True))[:8]:
        print(f"   {drawings[i].caption}: {answer}")
    for question in ("Describe this picture.", "How can I use this at home?"):
        print("  ", trainer.answers([Row("pass_0", held[0], question, "")], 40), flush=True)
    trainer.adapted.train()
    return float(naming + 0.5 * vqa)


def prepared(budget_s: float, passes: int, drawings: list[Drawing], epochs: int) -> Trainer:
    """Returns a trainer with a warm-started projector and fresh LoRA."""
    torch.manual_seed(SEED)
    lm, tokenizer = parts.text_model(WORK)
    table = lm.get_input_embeddings().weight.detach()
    projector, pooled, warm = parts.Projector(), WORK / "warm_pooled.safetensors", WORK / "warm.safetensors"
    paths = [WORK / f"pass_{n}.npy" for n in range(passes)]
    if warm.is_file():
        projector.load_state_dict(load_file(warm))
    else:
        vqa = vqa_captions(len(np.load(WORK / "vqa_train.npy", mmap_mode="r")))
        captions = sorted({d.caption for d in drawings} | set(vqa))
        targets = (captions, caption_embeddings(captions, tokenizer, table))
        if pooled.is_file():
            projector.load_state_dict(load_file(pooled))
        else:
            warm_start(projector, drawings, paths[:1], targets, epochs)
            save_file(projector.state_dict(), pooled)
        warm_start(projector, drawings, paths, targets, WHOLE_EPOCHS, (WORK / "vqa_train.npy", vqa))
        rescale(projector, torch.from_numpy(np.load(paths[0], mmap_mode="r")[:256]).float(), table)
        save_file(projector.state_dict(), warm)
    adapted = parts.with_lora(lm)
    groups = [
        {"params": list(projector.parameters()), "weight_decay": 0.02},
        {"params": [p for p in adapted.parameters() if p.requires_grad], "weight_decay": 0.02},
    ]
    stores = {f"pass_{n}": np.load(p, mmap_mode="r") for n, p in enumerate(paths)}
    stores["vqa_train"] = np.load(WORK / "vqa_train.npy", mmap_mode="r")
    optimiser = torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.98))
    return Trainer(projector, adapted, tokenizer, budget_s, stores, optimiser)


def main() -> None:
    """Trains until the budget is used up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=55)
    parser.add_argument("--passes", type=int, default=4)
    parser.add_argument("--warm-epochs", type=int, default=30)
    options = parser.parse_args()
    torch.set_num_threads(2)
    drawings = load_drawings()
    trainer = prepared(options.minutes * 60, options.passes, drawings, options.warm_epochs)
    if (WORK / "last.safetensors").is_file():
        trainer.resume(WORK / "last.safetensors")
    vqa_images = len(trainer.stores["vqa_train"])
    sampler = Sampler(drawings, options.passes, vqa_images, SEED + trainer.step)
    trainer.adapted.train()
    saved = evaluated = trainer.elapsed_s
    for batch in batches(trainer, sampler):
        trainer.take_step(batch)
        if trainer.step % 25 == 0:
            mean = sum(trainer.losses) / len(trainer.losses)
            print(f"step {trainer.step} {trainer.elapsed_s:.0f} s loss {mean:.3f}", flush=True)
        done = trainer.elapsed_s >= trainer.budget_s
        if trainer.elapsed_s - saved > SAVE_EVERY_S or done:
            saved = trainer.elapsed_s
            trainer.save("last")
        if trainer.elapsed_s - evaluated > EVALUATE_EVERY_S or done:
            evaluated = trainer.elapsed_s
            score = evaluate(trainer, drawings, vqa_images)
            if score >= trainer.best:
                trainer.best = score
                trainer.save("best")
        if done:
            break


if __name__ == "__main__":
    main()
