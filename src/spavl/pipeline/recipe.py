"""A training recipe's road: read a preference dataset, align the model on it."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from spavl.config import RlConfig, TrainConfig
from spavl.dataset import data_licence, find_split, meta_paths, read_pairs, sample_pairs, stored_pictures
from spavl.errors import UserError
from spavl.method_config import MethodConfig
from spavl.models import CallStore, ImageInput, local_folder, open_models
from spavl.models.weights import weights_digest
from spavl.pipeline.plan import plannable
from spavl.pipeline.road import identity
from spavl.pipeline.train import (
    TrainingMaterial,
    is_trained,
    learnt_pairs,
    run_training,
    safety_labelled,
    training_identity,
)
from spavl.recipe_config import DataConfig, RecipeConfig
from spavl.records import PreferencePair
from spavl.store import DecodeLimits, ImageStore, Manifest, RunDirectory
from spavl.store.manifest import hash_file
from spavl.train import check_ready
from spavl.train.plan import Offered, TrainingPlan, plan_training
from spavl.train.render import picture_digest
from spavl.train.rl.sources import Sources

RECIPE_STAGES = ("pairs", "train")
SAMPLED_ROWS = 64
"""Rows that a plan reads of a dataset that is not read yet."""


def train_recipe(recipe: RecipeConfig, restart_from: str | None = None) -> dict[str, Manifest]:
    """Runs the stages that are not finished, and returns the manifests.

    Args:
        recipe: What is trained, on what.
        restart_from: Stage that is made again with those after it.

    Raises:
        UserError: The data or the model cannot be had or used, the device or a tracker's package is missing, or another
            process is at work in the run.
        RunError: The loss is not finite, a checkpoint is damaged, or the disk is full.
    """
    run, config = RunDirectory(recipe.run, recipe.seed), recipe.settings
    with run.locked():
        if restart_from is not None:
            run.restart_from(restart_from, RECIPE_STAGES)
        if "train" not in run.manifests(RECIPE_STAGES):
            check_ready(config)
        folder, store = local_folder(recipe.model), _store(recipe.data, recipe.run / "pictures")
        _read(recipe, run, store)
        pairs, picture = run.records("pairs", PreferencePair), stored_pictures(store).__getitem__
        check_known(config, pairs)
        with _sources(recipe, picture, anew=restart_from is not None) as sources:
            settings = training_identity(config, weights_digest(folder), recipe.seed, sources)
            stage = run.stage("train", settings, ("pairs",))
            if not is_trained(stage):
                run_training(stage, config, TrainingMaterial(pairs, picture), folder, recipe.seed, sources)
        return run.manifests(RECIPE_STAGES)


@contextmanager
def _sources(recipe: RecipeConfig, picture: Callable[[str], Path], *, anew: bool) -> Iterator[Sources]:
    """Opens what rewards are made of: models for judges, with their store of calls, where the recipe names any.

    Where a stage is made anew, replies that could not be read are forgotten.
    """
    if not recipe.models:
        yield Sources()
        return

    def show(image_id: str) -> ImageInput:
        path = picture(image_id)
        return ImageInput(sha256=picture_digest(path), path=path)

    store = CallStore(recipe.calls, str(recipe.run))
    if anew:
        store.forget_unread()
    models = open_models(recipe.models, store)
    try:
        yield Sources(models, show)
    finally:
        models.close()
        store.close()


def plan_recipe(recipe: RecipeConfig, processes: int = 1) -> TrainingPlan:
    """Works out what `train_recipe` would do, from the pairs if they are read, or else from a sample of the rows.

    Where the data is no folder on this machine, lengths are assumed and nothing is downloaded.

    Args:
        recipe: What is trained, on what.
        processes: How many processes train together.

    Raises:
        UserError: The data or the model cannot be used, a pair does not fit, or no row that was looked at says what
            the settings ask for.
    """
    config, folder = plannable(recipe.settings), local_folder(recipe.model)
    run = RunDirectory(recipe.run, recipe.seed)
    if "pairs" in run.manifests(RECIPE_STAGES[:1]):
        read = run.records("pairs", PreferencePair)
        check_known(config, read)
        pairs = learnt_pairs(config, read, recipe.seed)
        offered = Offered(pairs, stored_pictures(_store(recipe.data, recipe.run / "pictures")).__getitem__)
        return plan_training(config, folder, offered, recipe.seed, processes)
    if not Path(recipe.data.path).expanduser().is_dir():
        words = f"data.path: {recipe.data.path} is no folder here and was not read yet, so its rows are unknown"
        return plan_training(config, folder, Offered(words=words), recipe.seed, processes)
    with tempfile.TemporaryDirectory() as scratch:  # a plan leaves nothing behind
        offered = _sampled(recipe, _store(recipe.data, Path(scratch)))
        return plan_training(config, folder, offered, recipe.seed, processes)


def _sampled(recipe: RecipeConfig, store: ImageStore) -> Offered:
    """Returns pairs from some rows, and how many all rows will be if they are like these."""
    files = find_split(recipe.data)
    usable, rows = sample_pairs(recipe.data, files, store, SAMPLED_ROWS)
    pairs = learnt_pairs(plannable(recipe.settings), usable, recipe.seed)
    if not pairs:
        raise UserError(
            f"data.path: none of {rows} rows that were looked at can be trained on. A row needs one picture, a "
            "question, and two answers that differ; correct the data."
        )
    check_known(recipe.settings, usable, "sampled")
    words = f"from {rows} of {files.rows:,} rows, of which {len(pairs)} can be trained on"
    stored = stored_pictures(store)
    copies = sum(path.stat().st_size for path in stored.values())
    return Offered(
        pairs, stored.__getitem__, round(files.rows * len(pairs) / rows), words, round(copies * files.rows / rows)
    )


def check_known(config: MethodConfig, pairs: Sequence[PreferencePair], whose: str = "dataset's") -> None:
    """Checks that the data says what the settings ask for.

    Args:
        config: The settings.
        pairs: The pairs that were read.
        whose: What an error calls them: all of the dataset's, or sampled ones.

    Raises:
        UserError: It does not.
    """
    if isinstance(config, RlConfig):
        return
    unlabelled = not safety_labelled(pairs)
    for place, loss in enumerate(config.loss if isinstance(config, TrainConfig) else ()):
        if unlabelled and "safety" in loss.needs:
            raise UserError(
                f"train.loss.{place}: {loss.kind} needs to know which answers are safe, and none of the {whose} "
                f"{len(pairs)} pairs has both `chosen_verdict` and `rejected_verdict` (safe or unsafe). Add them, or "
                "choose another loss."
            )
    if config.max_benign_share < 1 and not any(pair.question_type for pair in pairs):
        raise UserError(
            f"train.max_benign_share: {config.max_benign_share} needs to know which questions are benign, and "
            f"none of the {whose} {len(pairs)} pairs has a `question_type`. Add it, or leave the share at 1."
        )


def _read(recipe: RecipeConfig, run: RunDirectory, store: ImageStore) -> None:
    """Runs the reading stage unless it is finished; the files themselves, not where they lie, are its identity."""
    files = find_split(recipe.data)
    data = identity(recipe.data) | {"files": [hash_file(path) for path in files.files]}
    data["meta_files"] = [hash_file(path) for path in meta_paths(recipe.data.meta_files, files.folder)]
    data["licence"] = data_licence(recipe.data, files)
    stage = run.stage(
        "pairs", {name: value for name, value in data.items() if name not in ("path", "revision", "images")}
    )
    if stage.manifest() is None:
        read_pairs(recipe.data, files, store, stage)


def _store(data: DataConfig, folder: Path) -> ImageStore:
    return ImageStore(folder, DecodeLimits(**data.model_dump(include=set(DecodeLimits._fields))))
