"""The training road: aligns the model on the dataset's training pairs."""

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
    pairs = [pair for pair in road.records("preferences", PreferencePair) if pair.id in chosen]

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
        return stage.finish(["dpo"])

    await once(stage, station)
