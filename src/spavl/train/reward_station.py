"""The reward model's station: preference pairs and a model folder in, a model that scores answers out.

It goes on and ends as the training of preferences does (`station.py`). What it is worth is measured on pairs about
pictures that it has not learnt from, which is done again where it was broken off.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict
from safetensors.torch import load_file
from torch.optim import AdamW

from spavl.errors import UserError
from spavl.models.weights import weights_digest
from spavl.records import PreferencePair
from spavl.store.files import write_atomically
from spavl.train.attempt import identity_of, note_attempt, open_attempt, pairs_digest
from spavl.train.checkpoint import TrainingState
from spavl.train.lengths import fitting_pairs
from spavl.train.loop import run_loop
from spavl.train.opening import Job, Opened, open_engine, open_model
from spavl.train.parallel import Processes, lead
from spavl.train.policy import open_policy
from spavl.train.render import Row
from spavl.train.reward import COST, REWARD, RewardModel, add_heads, reward_task
from spavl.train.reward_measure import PairScores, RewardFigures, reward_figures
from spavl.train.reward_model import RewardCard, export_reward_model, reading_card
from spavl.train.station import check_ready
from spavl.train_config import RewardModelConfig


class RewardPairs(NamedTuple):
    """What a reward model is made of."""

    training: Sequence[PreferencePair]
    held_out: Sequence[PreferencePair] = ()
    """Pairs about other pictures, which are only measured."""


class RewardResult(NamedTuple):
    """What the training of a reward model made."""

    model: Path
    """The merged model with its heads."""
    adapter: Path | None
    """Adapters and heads alone; None where there are no adapters."""
    checkpoint: Path
    metrics: Path
    """One JSON line an optimiser step."""
    held_out: Path
    """One JSON line a held-out pair: its scores."""
    steps: int
    trainable: dict[str, int]
    """Part (`language`, `projector`, `vision`, `head`) -> trained parameters."""
    weights_sha256: str
    """SHA-256 over the merged model's folder."""
    figures: RewardFigures | None
    """What it is worth; None where nothing was held out."""
    dropped: Mapping[str, int] = MappingProxyType({})
    """Reason -> pairs that a rule left out."""
    marks_broken: int = 0
    """Questions that hold a mark of the chat template, which a space breaks."""


def hold_out(pairs: Sequence[PreferencePair], fraction: float, seed: int) -> RewardPairs:
    """Parts pairs by picture, so that what is measured shows nothing that was learnt from.

    Args:
        pairs: All of them.
        fraction: Share of the pictures that is held out, rounded down; which ones is drawn by the seed.
        seed: The run's seed.
    """
    pictures = sorted({pair.image_id for pair in pairs}, key=lambda one: _drawn(f"{seed}/held out/{one}"))
    apart = set(pictures[: math.floor(fraction * len(pictures))])
    return RewardPairs(
        [pair for pair in pairs if pair.image_id not in apart], [pair for pair in pairs if pair.image_id in apart]
    )


def train_reward(
    config: RewardModelConfig,
    pairs: RewardPairs,
    picture: Callable[[str], Path],
    model_folder: Path,
    output: Path,
    seed: int,
) -> RewardResult:
    """Trains a reward model, and measures it on what was held out.

    Args:
        config: Settings; `config.model` is only a name here.
        pairs: What it learns from, and what it is measured on.
        picture: Image id -> file.
        model_folder: The model to start from, in the hub's layout.
        output: Gets `model/`, `adapter/`, `checkpoints/step-N/`, `metrics.jsonl`, `held_out.jsonl` and `train.json`.
        seed: Decides first weights, order and dropout.

    Raises:
        UserError: There are no pairs, one does not fit, the model cannot be trained, `output` was begun otherwise, or
            a tracker's package is missing.
        RunError: The loss is not finite, a checkpoint is damaged, or the disk is full.
    """
    if not pairs.training:
        raise UserError("There are no training pairs. Look at the dataset stage's manifest for what became of them.")
    _check_labels(config, pairs.training)
    identity = identity_of(config, pairs.training, model_folder, seed)
    identity |= {"labels": _labels_digest(pairs.training), "held_out": pairs_digest(pairs.held_out)}
    finished = open_attempt(output, identity, _Finished)
    if finished is None:
        check_ready(config)
        files = {pair.image_id: picture(pair.image_id) for pair in (*pairs.training, *pairs.held_out)}
        counts = lead(_train, Job(config, pairs.training, files, model_folder, output, seed, pairs.held_out))
        trained = load_file(output / "checkpoints" / f"step-{counts['steps']}" / "trained.safetensors")
        export_reward_model(model_folder, trained, counts.pop("card"), output)
        finished = _Finished(weights_sha256=weights_digest(output / "model"), **counts)
        note_attempt(output, identity, finished)
    return RewardResult(
        model=output / "model",
        adapter=None if config.lora is None else output / "adapter",
        checkpoint=output / "checkpoints" / f"step-{finished.steps}",
        metrics=output / "metrics.jsonl",
        held_out=output / "held_out.jsonl",
        **dict(finished),
    )


class _Finished(BaseModel):
    """What is noted of a finished training; `RewardResult` says more of it."""

    model_config = ConfigDict(strict=True, extra="forbid")

    steps: int
    trainable: dict[str, int]
    weights_sha256: str
    figures: RewardFigures | None
    dropped: dict[str, int] = {}
    marks_broken: int = 0


def _train(job: Job[RewardModelConfig], processes: Processes) -> dict[str, Any]:
    """Trains and measures; the model's memory is given back before it is exported."""
    config = job.config
    opened, alike = _unlike(open_model(job, processes))
    policy = open_policy(opened.vlm, opened.family, config, job.seed, job.model_folder)
    policy, heads = add_heads(policy, config, job.seed)
    policy, engine = open_engine(job, opened, policy, job.files.__getitem__, processes)
    optimizer = AdamW(policy.parameter_groups(config), betas=(0.9, 0.999), eps=1e-8, fused=True)
    state = TrainingState(policy.trainable(), optimizer)
    model = RewardModel(engine, heads)
    result = run_loop(reward_task(model, opened, config), state, config, job.output, job.seed)
    scores, left_out = _measure(job, opened, model)
    if processes.is_main:
        lines = b"".join(one.model_dump_json().encode() + b"\n" for one in scores)
        write_atomically(job.output / "held_out.jsonl", lines)
    card = RewardCard(
        heads=tuple(heads),
        base_sha256=weights_digest(job.model_folder),
        answer_tokens=config.answer_tokens,
        lora=config.lora,
        adapters_alone=config.lora is not None and not config.projector and config.vision_blocks == 0,
        **reading_card(opened.vlm, opened.renderer.end_id),
    )
    return {
        "steps": result.steps,
        "trainable": policy.count_trainable(),
        "figures": reward_figures(scores),
        "dropped": {"too_long": opened.too_long, "alike": alike} | left_out,
        "marks_broken": opened.marks_broken(),
        "card": card,
    }


def _unlike(opened: Opened) -> tuple[Opened, int]:
    """Leaves out the pairs whose answers are alike as far as they are read; returns the others, and how many they were.

    Raises:
        UserError: All are alike.
    """
    kept = [place for place, row in enumerate(opened.rows) if row.chosen != row.rejected]
    if not kept:
        raise UserError(
            f"train.answer_tokens: the answers of all {len(opened.rows)} pairs begin alike, so that nothing tells them "
            "apart. Set it higher, or to null for whole answers."
        )
    unlike = opened._replace(pairs=[opened.pairs[place] for place in kept], rows=[opened.rows[place] for place in kept])
    return unlike, len(opened.rows) - len(kept)


@torch.no_grad()
def _measure(
    job: Job[RewardModelConfig], opened: Opened, model: RewardModel
) -> tuple[list[PairScores], dict[str, int]]:
    """Returns the scores of the held-out pairs, every process a share of them, and how many a rule left out."""
    if not job.held_out:
        return [], {"held_out_too_long": 0, "held_out_alike": 0}
    config, processes = job.config, model.engine.processes
    rendered = opened.renderer.rows(job.held_out, job.files.__getitem__)
    fitting = fitting_pairs(job.held_out, rendered, config, opened.vlm.model.config.image_token_id)
    unlike = [(pair, row) for pair, row in zip(fitting.pairs, fitting.rows, strict=True) if row.chosen != row.rejected]
    rows = [row for _, row in unlike]
    left_out = {"held_out_too_long": fitting.too_long, "held_out_alike": len(fitting.rows) - len(rows)}
    model.engine.model.eval()  # dropout is for learning
    scores: dict[int, dict[str, tuple[float, ...]]] = {}
    packed_rows = model.engine.pack(rows, range(len(rows)))
    for start in range(0, len(packed_rows), processes.number):
        turn = packed_rows[start : start + processes.number]
        mine = turn[min(processes.rank, len(turn) - 1)]  # a pass may be a meeting, so none stays out
        found = {name: one.tolist() for name, one in model.engine.all_scores(mine, model.heads).items()}
        for packed, said in zip(turn, processes.gather(found), strict=False):
            for name, of_answers in said.items():
                for row, sides in packed.by_row(of_answers).items():
                    scores.setdefault(row, {})[name] = sides
    return [_pair_scores(pair, row, scores[place]) for place, (pair, row) in enumerate(unlike)], left_out


def _pair_scores(pair: PreferencePair, row: Row, scores: Mapping[str, Sequence[float]]) -> PairScores:
    costs = scores.get(COST, (None, None))
    return PairScores(
        pair_id=pair.id,
        image_id=pair.image_id,
        question_type=None if pair.question_type is None else str(pair.question_type),
        chosen=scores[REWARD][0],
        rejected=scores[REWARD][1],
        chosen_tokens=len(row.chosen),
        rejected_tokens=len(row.rejected),
        chosen_verdict=pair.chosen_verdict,
        rejected_verdict=pair.rejected_verdict,
        chosen_cost=costs[0],
        rejected_cost=costs[1],
    )


def _check_labels(config: RewardModelConfig, pairs: Sequence[PreferencePair]) -> None:
    if config.strength_margin and all(pair.strength is None for pair in pairs):
        raise UserError(
            f"train.strength_margin: none of {len(pairs)} pairs has a `strength`, a number that says how much better "
            "its chosen answer is. Add the column, or leave the margin at 0."
        )
    asked = {"cost": config.cost is not None, "safety_margin": config.safety_margin > 0}
    labelled = any(pair.chosen_verdict is not None or pair.rejected_verdict is not None for pair in pairs)
    for name, wanted in asked.items():
        if wanted and not labelled:
            raise UserError(
                f"train.{name}: it needs to know which answers are safe, and none of {len(pairs)} pairs has "
                "`chosen_verdict` or `rejected_verdict` (safe or unsafe). Add them, or leave it out."
            )


def _labels_digest(pairs: Sequence[PreferencePair]) -> str:
    return _drawn(str([(pair.chosen_verdict, pair.rejected_verdict, pair.strength) for pair in pairs]))


def _drawn(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
