"""The training road: aligns the model on the dataset's training pairs."""

import hashlib
import math
from collections.abc import Sequence
from typing import ClassVar

from spavl.dataset import DatasetRow
from spavl.models import local_folder
from spavl.models.ask import outcome
from spavl.pipeline.road import Road, once
from spavl.records import PreferencePair, Record
from spavl.store import Manifest
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
    settings = {"train": config.train, "model": road.model_config(config.train.model), "seed": config.seed}
    stage = road.stage("train", settings, "images", "dataset")
    show = road.shower()
    chosen = {row.pair_id for row in road.records("dataset", DatasetRow) if row.split == "train"}
    offered = [pair for pair in road.records("preferences", PreferencePair) if pair.id in chosen]
    pairs = training_pairs(offered, config.train.max_benign_share, config.seed)

    async def station() -> Manifest:
        result = train_dpo(
            config.train,
            pairs,
            lambda image_id: show(image_id).path,
            local_folder(config.models[config.train.model]),
            stage.path,
            config.seed,
        )
        checkpoint = Checkpoint(
            weights=result.weights_sha256,
            base=config.train.model,
            steps=result.steps,
            pairs=len(pairs),
            trainable_parameters=result.trainable_parameters,
        )
        stage.append([outcome(item, checkpoint) for item in stage.pending(["dpo"])])
        facts = {"pairs": len(pairs), "benign_pairs_left_out": len(offered) - len(pairs)}
        return stage.finish(["dpo"], facts)

    await once(stage, station)


def training_pairs(pairs: Sequence[PreferencePair], max_benign_share: float, seed: int) -> list[PreferencePair]:
    """Returns the pairs to train on, in order: all harmful ones, and as many benign ones as the share allows."""

    def place(pair: PreferencePair) -> str:
        return hashlib.sha256(f"{seed}/{pair.id}".encode()).hexdigest()

    benign = sorted((pair for pair in pairs if not pair.question_type.harmful), key=place)
    harmful = len(pairs) - len(benign)
    if max_benign_share < 1:
        # b / (h + b) <= s  <=>  b <= h s / (1 - s)
        benign = benign[: math.floor(harmful * max_benign_share / (1 - max_benign_share))]
    kept = {pair.id for pair in benign}
    return [pair for pair in pairs if pair.question_type.harmful or pair.id in kept]
