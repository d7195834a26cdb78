"""A training recipe's road: read a preference dataset, align the model on it."""

from collections.abc import Sequence
from pathlib import Path

from spavl.config import TrainConfig
from spavl.dataset import find_split, meta_paths, read_pairs, stored_pictures
from spavl.errors import UserError
from spavl.models import local_folder
from spavl.models.weights import weights_digest
from spavl.pipeline.road import identity
from spavl.pipeline.train import align, safety_labelled, training_pairs
from spavl.recipe_config import RecipeConfig
from spavl.records import PreferencePair
from spavl.store import DecodeLimits, ImageStore, Manifest, RunDirectory
from spavl.store.manifest import hash_file
from spavl.tracker_config import check_trackers
from spavl.train.plan import TrainingPlan, plan_training

RECIPE_STAGES = ("pairs", "train")


def train_recipe(recipe: RecipeConfig, restart_from: str | None = None) -> dict[str, Manifest]:
    """Runs the stages that are not finished, and returns the manifests.

    Args:
        recipe: What is trained, on what.
        restart_from: Stage that is made again with those after it.

    Raises:
        UserError: The data or the model cannot be had or used, a tracker's package is missing, or another process is at
            work in the run.
        RunError: The loss is not finite, a checkpoint is damaged, or the disk is full.
    """
    run, config = RunDirectory(recipe.run, recipe.seed), recipe.settings
    with run.locked():
        if restart_from is not None:
            run.restart_from(restart_from, RECIPE_STAGES)
        if "train" not in run.manifests(RECIPE_STAGES):
            check_trackers(config.trackers)
        folder, store = local_folder(recipe.model), _store(recipe)
        _read(recipe, run, store)
        pairs = run.records("pairs", PreferencePair)
        check_known(config, pairs)
        settings = {"train": config, "model": weights_digest(folder), "seed": recipe.seed}
        stage = run.stage("train", identity(settings), ("pairs",))
        if stage.manifest() is None:
            align(stage, config, pairs, stored_pictures(store).__getitem__, folder, recipe.seed)
        return run.manifests(RECIPE_STAGES)


def plan_recipe(recipe: RecipeConfig) -> TrainingPlan:
    """Works out what `train_recipe` would do; where the data is not read yet, lengths are assumed.

    Raises:
        UserError: The model cannot be trained so, or a pair does not fit.
    """
    config, folder = recipe.settings, local_folder(recipe.model)
    run = RunDirectory(recipe.run, recipe.seed)
    if "pairs" not in run.manifests(RECIPE_STAGES[:1]):
        return plan_training(config, folder, (), Path, recipe.seed)
    pairs = training_pairs(run.records("pairs", PreferencePair), config.max_benign_share, recipe.seed)
    return plan_training(config, folder, pairs, stored_pictures(_store(recipe)).__getitem__, recipe.seed)


def check_known(config: TrainConfig, pairs: Sequence[PreferencePair]) -> None:
    """Checks that the data says what the settings ask for.

    Raises:
        UserError: It does not.
    """
    unlabelled = not safety_labelled(pairs)
    for place, loss in enumerate(config.loss):
        if unlabelled and "safety" in loss.needs:
            raise UserError(
                f"train.loss.{place}: {loss.kind} needs to know which answers are safe, and none of the dataset's "
                f"{len(pairs)} pairs has both `chosen_verdict` and `rejected_verdict` (safe or unsafe). Add them, or "
                "choose another loss."
            )
    if config.max_benign_share < 1 and not any(pair.question_type for pair in pairs):
        raise UserError(
            f"train.max_benign_share: {config.max_benign_share} needs to know which questions are benign, and the "
            "dataset has no `question_type`. Add it, or leave the share at 1."
        )


def _read(recipe: RecipeConfig, run: RunDirectory, store: ImageStore) -> None:
    """Runs the reading stage unless it is finished; the files themselves, not where they lie, are its identity."""
    files = find_split(recipe.data)
    data = identity(recipe.data) | {"files": [hash_file(path) for path in files.files]}
    data["meta_files"] = [hash_file(path) for path in meta_paths(recipe.data, files.folder)]
    stage = run.stage(
        "pairs", {name: value for name, value in data.items() if name not in ("path", "revision", "images")}
    )
    if stage.manifest() is None:
        read_pairs(recipe.data, files, store, stage)


def _store(recipe: RecipeConfig) -> ImageStore:
    limits = DecodeLimits(**recipe.data.model_dump(include=set(DecodeLimits._fields)))
    return ImageStore(recipe.run / "pictures", limits)
