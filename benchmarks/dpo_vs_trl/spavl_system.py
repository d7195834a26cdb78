"""Our side: the engine's own functions in the smallest loop that trains with them.

The reference's log-probabilities are computed once, before the first step, with the weights the training starts from,
and the pictures' features once, when they are first asked for; the first epoch so pays for both. No second model is
loaded.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from benchmarks.dpo_vs_trl.adapters import lora_config, seed_adapters
from benchmarks.dpo_vs_trl.job import BETA, MAX_GRADIENT_NORM, Job
from benchmarks.dpo_vs_trl.meter import Meter
from benchmarks.dpo_vs_trl.pairs import Pair, WordProcessor
from benchmarks.dpo_vs_trl.shapes import IMAGE
from peft import get_peft_model
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim import AdamW

from spavl.models.loading import Vlm
from spavl.train.engine import Engine
from spavl.train.families import family_of
from spavl.train.logprobs import pair_logprobs, row_logprobs
from spavl.train.lora_linear import join_adapters
from spavl.train.loss_formulas import LogRatios, PairLogprobs, sigmoid_losses
from spavl.train.render import Row
from spavl.train.tree import PackedTrees, pack_rows
from spavl.train.vision_cache import Pictures

TOKENS_PER_FORWARD = 1600
"""Room of a packed row: a tree of three questions, or of one; more trees at once are no faster, and cost memory.
Where answers are longer there is room for the longest tree."""
WHOLE_TREE = 100_000
"""Room for any one tree."""


class Material(NamedTuple):
    """What is trained on."""

    rows: Sequence[Row]
    pairs: Sequence[Pair]
    steps: Sequence[Sequence[int]]
    """The rows of each optimiser step of an epoch."""


def train_spavl(job: Job, model: Any, processor: WordProcessor, material: Material, meter: Meter) -> None:  # noqa: ANN401
    """Trains."""
    files = {pair.image_id: Path(job.folder) / f"{pair.image_id}.png" for pair in material.pairs}
    for pair in material.pairs:
        pair.picture.save(files[pair.image_id])
    policy = get_peft_model(model, lora_config()) if job.lora else model
    if job.lora:
        seed_adapters(policy)
        join_adapters(policy)
    meter.count_tokens(model.get_decoder())

    def engine() -> Engine:
        pictures = Pictures(Vlm(model, processor), family_of(model), files.__getitem__)
        return Engine(model, family_of(model), pictures, room(material.rows, TOKENS_PER_FORWARD), flex=job.flex)

    if not job.count_flops:
        warm = engine()
        logprobs(warm, warm.pack(material.rows, material.steps[0])[0]).chosen.sum().backward()
        model.zero_grad(set_to_none=True)
    meter.start()
    train_epochs(job, engine(), policy, material, meter)


def room(rows: Sequence[Row], least: int) -> int:
    """Returns room for the longest picture's tree, or the least."""
    trees = (
        [place for place, row in enumerate(rows) if row.image_id == image] for image in {row.image_id for row in rows}
    )
    packed = (pack_rows(rows, places, WHOLE_TREE, frozenset([IMAGE])) for places in trees)
    return max(least, *(len(tree.tokens) for trees in packed for tree in trees))


def logprobs(engine: Engine, packed: PackedTrees) -> PairLogprobs:
    """Runs a packed row."""
    return pair_logprobs(row_logprobs(engine.run(packed), packed), packed.rows)


@torch.no_grad()
def reference_logprobs(engine: Engine, rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
    """Returns the log-probabilities under the present weights, in the order of the rows."""
    chosen, rejected = torch.empty(len(rows)), torch.empty(len(rows))
    for packed in engine.pack(rows, range(len(rows))):
        places, found = list(packed.rows), logprobs(engine, packed)
        chosen[places], rejected[places] = found.chosen.float().cpu(), found.rejected.float().cpu()
    return chosen.to(engine.model.device), rejected.to(engine.model.device)


def train_epochs(job: Job, engine: Engine, policy: Any, material: Material, meter: Meter) -> None:  # noqa: ANN401
    """Runs the reference once and then the epochs; new adapters change nothing, so they may stay on for it."""
    parameters = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    optimiser = AdamW(parameters, lr=job.learning_rate, weight_decay=0.0, fused=True)
    reference = reference_logprobs(engine, material.rows)
    for _ in range(job.epochs):
        for step in material.steps:
            loss = torch.zeros((), device=policy.device)
            for packed in engine.pack(material.rows, step):
                policy_logprobs, places = logprobs(engine, packed), list(packed.rows)
                ratios = LogRatios(*(mine - its[places] for mine, its in zip(policy_logprobs, reference, strict=True)))
                part = sigmoid_losses(ratios, BETA).sum() / len(step)
                part.backward()
                loss += part.detach()
            clip_grad_norm_(parameters, MAX_GRADIENT_NORM)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            meter.add_loss(loss)
        meter.mark()
