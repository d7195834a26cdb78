"""The training road: aligns the model on the dataset's training pairs."""

import hashlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from spavl.config import TrainConfig
from spavl.dataset import DatasetRow
from spavl.models import local_folder
from spavl.models.ask import outcome
from spavl.pipeline.road import Road, identity
from spavl.records import PreferencePair, QuestionType, Record
from spavl.store import Manifest, StageDirectory
from spavl.train import train_dpo


class Checkpoint(Record):
    """What one training run made."""

    prefix: ClassVar[str] = "ckp"
    made_from: ClassVar[tuple[str, ...]] = ("weights",)

    weights: str
    """SHA-256 of the merged weights."""
    base: str
    """Name of the model it started from."""
    steps: int
    pairs: int
    trainable_parameters: int


async def train(road: Road) -> None:
    """Runs the training stage unless it is finished."""
    config = road.config
    settings = training_identity(config.train, road.model_config(config.train.model), config.seed)
    stage = road.stage("train", settings, "images", "dataset")
    if is_trained(stage):
        return
    show, folder = road.shower(), local_folder(config.models[config.train.model])
    align(stage, config.train, offered_pairs(road), lambda image_id: show(image_id).path, folder, config.seed)


def training_identity(config: TrainConfig, model: object, seed: int) -> dict[str, Any]:
    """Returns what makes a training the same training: of the model not its name, but what `model` says of it."""
    settings = identity(config)
    del settings["model"]
    return {"train": settings, "model": identity(model), "seed": seed}


def is_trained(stage: StageDirectory) -> bool:
    """Returns whether the training stage is finished and the model it made is still there."""
    return stage.manifest() is not None and (stage.path / "model").is_dir()


def align(
    stage: StageDirectory,
    config: TrainConfig,
    offered: Sequence[PreferencePair],
    picture: Callable[[str], Path],
    folder: Path,
    seed: int,
) -> Manifest:
    """Runs the training stage: one item, the model.

    Args:
        stage: Where it is trained.
        config: Settings.
        offered: The pairs that there are; benign ones beyond the allowed share are left out.
        picture: Image id -> file.
        folder: The model to start from.
        seed: Decides adapters' first weights, order, dropout, and which benign pairs are left out.

    Raises:
        UserError: The model cannot be trained so, or on these pairs.
        RunError: The loss is not finite, a checkpoint is damaged, or the disk is full.
    """
    pairs = training_pairs(offered, config.max_benign_share, seed)
    result = train_dpo(config, pairs, picture, folder, stage.path, seed)
    trained = len(pairs) - sum(result.dropped.values())
    checkpoint = Checkpoint(
        weights=result.weights_sha256,
        base=config.model,
        steps=result.steps,
        pairs=trained,
        trainable_parameters=result.trainable_parameters,
    )
    stage.append([outcome("dpo", checkpoint)])
    facts = {
        "pairs": trained,
        "benign_pairs_left_out": len(offered) - len(pairs),
        "dropped": dict(result.dropped),
        "alarms": result.alarms,
        "questions_with_broken_marks": result.marks_broken,
        "pairs_with_safety_labels": safety_labelled(pairs),
    }
    return stage.finish(["dpo"], facts)


def offered_pairs(road: Road) -> list[PreferencePair]:
    """Returns the pairs of the dataset's training split.

    Raises:
        UserError: The dataset is not made yet.
    """
    chosen = {row.pair_id for row in road.records("dataset", DatasetRow) if row.split == "train"}
    return [pair for pair in road.records("preferences", PreferencePair) if pair.id in chosen]


def safety_labelled(pairs: Sequence[PreferencePair]) -> int:
    """Returns how many pairs say of both answers whether they are safe."""
    return sum(pair.chosen_verdict is not None and pair.rejected_verdict is not None for pair in pairs)


def training_pairs(pairs: Sequence[PreferencePair], max_benign_share: float, seed: int) -> list[PreferencePair]:
    """Returns the pairs to train on, in order: as many benign ones as the share allows, and all others."""

    def place(pair: PreferencePair) -> str:
        return hashlib.sha256(f"{seed}/{pair.id}".encode()).hexdigest()

    benign = sorted((pair for pair in pairs if pair.question_type is QuestionType.BENIGN_QUESTION), key=place)
    others = len(pairs) - len(benign)
    if max_benign_share < 1:
        # b / (o + b) <= s  <=>  b <= o s / (1 - s)
        benign = benign[: math.floor(others * max_benign_share / (1 - max_benign_share))]
    kept = {pair.id for pair in benign}
    return [pair for pair in pairs if pair.question_type is not QuestionType.BENIGN_QUESTION or pair.id in kept]
