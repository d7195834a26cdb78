"""The training road: aligns the model on the dataset's training pairs, or by rewards on their prompts."""

import hashlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from spavl.config import RewardModelConfig, RlConfig, TrainConfig
from spavl.dataset import DatasetRow
from spavl.method_config import MethodConfig
from spavl.models import local_folder
from spavl.models.ask import outcome
from spavl.pipeline.road import REWARD, SFT, Road, identity
from spavl.records import PreferencePair, QuestionType, Record
from spavl.store import Manifest, StageDirectory
from spavl.train import TrainResult, train_dpo
from spavl.train.reward_station import RewardPairs, RewardResult, hold_out, train_reward
from spavl.train.rl import RlResult, prompts_of, train_rl
from spavl.train.rl.sources import Sources
from spavl.train.rl.station import Asked


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


def train(road: Road) -> None:
    """Runs the training stages that are not finished, each on from what `sft` made, where there is to be one."""
    config = road.config
    made = ["images", "dataset"]
    for name, settings in ((SFT, config.sft), (REWARD, config.reward), ("train", config.train)):
        if settings is not None:
            _train(road, name, settings, made)
            made.append(name)


def _train(road: Road, name: str, config: MethodConfig, upstream: Sequence[str]) -> None:
    show = road.shower()
    sources = Sources(road.models, show)
    settings = training_identity(config, road.model_config(config.model), road.config.seed, sources)
    stage = road.stage(name, settings, *upstream)
    if is_trained(stage):
        return
    folder = road.run.path / SFT / "model" if SFT in upstream else local_folder(road.config.models[config.model])
    material = TrainingMaterial(offered_pairs(road), lambda image_id: show(image_id).path, validation_pairs(road))
    run_training(stage, config, material, folder, road.config.seed, sources)


class TrainingMaterial(NamedTuple):
    """What there is to train on."""

    pairs: Sequence[PreferencePair]
    """The training split."""
    picture: Callable[[str], Path]
    """Image id -> file."""
    validation: Sequence[PreferencePair] = ()
    """Pairs that a reward model is measured on."""


def run_training(  # a training is these
    stage: StageDirectory,
    config: MethodConfig,
    material: TrainingMaterial,
    folder: Path,
    seed: int,
    sources: Sources,
) -> Manifest:
    """Runs a training stage of any method: one item, the model.

    Args:
        stage: Where it is trained.
        config: Settings.
        material: Pairs and pictures.
        folder: The model to start from.
        seed: The run's seed.
        sources: Opens what the settings name as rewards.

    Raises:
        UserError: The model cannot be trained so, or on these pairs.
        RunError: The loss is not finite, a checkpoint is damaged, or the disk is full.
    """
    if isinstance(config, RewardModelConfig):
        return make_reward_model(stage, config, material, folder, seed)
    if isinstance(config, RlConfig):
        return reinforce(stage, config, material, folder, seed, sources)
    return align(stage, config, material.pairs, material.picture, folder, seed)


def training_identity(config: MethodConfig, model: object, seed: int, sources: Sources) -> dict[str, Any]:
    """Returns what makes a training the same training: of the model not its name, but what `model` says of it.

    Rewards count as what they are, too: another reward model at the same path makes another training, and so does
    another model behind a judge.

    Raises:
        UserError: There is no such reward model, or no such model for a judge.
    """
    settings = identity(config)
    del settings["model"]
    rewards = {"rewards": sources.fingerprints(config)} if isinstance(config, RlConfig) else {}
    return {"train": settings, "model": identity(model), "seed": seed, **rewards}


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
    stage.append([outcome("dpo", _checkpoint(config, result, trained))])
    facts = {
        "pairs": trained,
        "benign_pairs_left_out": len(offered) - len(pairs),
        "dropped": dict(result.dropped),
        "alarms": result.alarms,
        "processes": result.processes,
        "questions_with_broken_marks": result.marks_broken,
        "pairs_with_safety_labels": safety_labelled(pairs),
    }
    return stage.finish(["dpo"], facts)


def make_reward_model(
    stage: StageDirectory, config: RewardModelConfig, material: TrainingMaterial, folder: Path, seed: int
) -> Manifest:
    """Runs the stage of a reward model: one item, the model.

    Args:
        stage: Where it is trained.
        config: Settings.
        material: Pairs and pictures; benign pairs beyond the allowed share are left out of training.
        folder: The model to start from.
        seed: Decides what is held out and left out, first weights, order and dropout.

    Raises:
        UserError: The model cannot be trained so, or on these pairs.
        RunError: The loss is not finite, a checkpoint is damaged, or the disk is full.
    """
    parted = hold_out(material.pairs, config.held_out_fraction, seed)
    pairs = RewardPairs(learnt_pairs(config, material.pairs, seed), [*parted.held_out, *material.validation])
    result = train_reward(config, pairs, material.picture, folder, stage.path, seed)
    trained = len(pairs.training) - result.dropped["too_long"] - result.dropped["alike"]
    stage.append([outcome("reward", _checkpoint(config, result, trained))])
    facts = {
        "pairs": trained,
        "benign_pairs_left_out": len(parted.training) - len(pairs.training),
        "dropped": dict(result.dropped),
        "questions_with_broken_marks": result.marks_broken,
        "pairs_with_safety_labels": safety_labelled(pairs.training),
        "held_out": None if result.figures is None else result.figures.model_dump(),
    }
    return stage.finish(["reward"], facts)


def reinforce(  # as above
    stage: StageDirectory, config: RlConfig, material: TrainingMaterial, folder: Path, seed: int, sources: Sources
) -> Manifest:
    """Runs the training stage by rewards: one item, the model; prompts are the questions of the training pairs.

    Args:
        stage: Where it is trained.
        config: Settings.
        material: Pairs and pictures.
        folder: The model to start from.
        seed: Decides first weights, order and sampling.
        sources: Opens the rewards.

    Raises:
        UserError: The model cannot be trained so, or a reward cannot be had.
        RunError: A reward or the loss is not finite, no answer ends, a checkpoint is damaged, or the disk is full.
    """
    prompts = prompts_of(material.pairs)
    benign = [pair for pair in material.pairs if pair.question_type is QuestionType.BENIGN_QUESTION]
    imitated = benign if config.ptx is not None and config.ptx.only_benign else material.pairs
    result = train_rl(config, Asked(prompts, material.picture, imitated), sources, folder, stage.path, seed)
    stage.append([outcome(config.method, _checkpoint(config, result, len(material.pairs)))])
    facts = {
        "pairs": len(material.pairs),
        "prompts": len(prompts) - result.dropped["too_long"],
        "dropped": dict(result.dropped),
        "rounds": result.rounds,
        "alarms": result.alarms,
    }
    return stage.finish([config.method], facts)


def _checkpoint(config: MethodConfig, result: RewardResult | RlResult | TrainResult, pairs: int) -> Checkpoint:
    return Checkpoint(
        weights=result.weights_sha256,
        base=config.model,
        steps=result.rounds if isinstance(result, RlResult) else result.steps,
        pairs=pairs,
        trainable_parameters=sum(result.trainable.values()),
    )


def offered_pairs(road: Road) -> list[PreferencePair]:
    """Returns the pairs of the dataset's training split.

    Raises:
        UserError: The dataset is not made yet.
    """
    return _pairs_of(road, "train")


def validation_pairs(road: Road) -> list[PreferencePair]:
    """Returns the pairs of the dataset's validation split.

    Raises:
        UserError: The dataset is not made yet.
    """
    return _pairs_of(road, "validation")


def _pairs_of(road: Road, split: str) -> list[PreferencePair]:
    chosen = {row.pair_id for row in road.records("dataset", DatasetRow) if row.split == split}
    return [pair for pair in road.records("preferences", PreferencePair) if pair.id in chosen]


def learnt_pairs(
    config: TrainConfig | RewardModelConfig, pairs: Sequence[PreferencePair], seed: int
) -> list[PreferencePair]:
    """Returns the pairs of a training split that are learnt from: not those held out, nor benign ones beyond the share.

    Args:
        config: Settings.
        pairs: The split.
        seed: The run's seed.
    """
    if isinstance(config, RewardModelConfig):
        pairs = hold_out(pairs, config.held_out_fraction, seed).training
    return training_pairs(pairs, config.max_benign_share, seed)


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
