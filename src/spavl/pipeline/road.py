"""What every station of one run shares, and what decides whether a stage is still the same stage."""

import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from spavl.config import Config, JudgeConfig, ModelConfig, OpenAIModelConfig, RunConfig, judges_model
from spavl.dataset import Splits, assign_splits, note_splits, noted_splits
from spavl.errors import UserError
from spavl.images import CaptionOutcomes
from spavl.judges import judge_fingerprint, judge_rubrics
from spavl.models import CallStore, ImageInput, Models, Replay, open_models
from spavl.models.ask import commonest
from spavl.questions import kept_questions
from spavl.records import Caption, ImageRecord, Question, Record
from spavl.store import Body, DecodeLimits, ImageStore, Manifest, Places, RunDirectory, Shelf, StageDirectory
from spavl.store.manifest import config_hash
from spavl.taxonomy import Taxonomy, chosen_leaves, load_taxonomy
from spavl.train_config import NOT_IDENTITY as NOT_TRAININGS_IDENTITY

R = TypeVar("R", bound=Record)

BUILD_STAGES = (
    "images",
    "captions",
    "questions",
    "checked_questions",
    "responses",
    "labels",
    "judgments",
    "preferences",
    "dataset",
)
STAGES = (*BUILD_STAGES, "train", "samples", "answers", "verdicts", "contests")
OPINIONS = "opinions"
"""A stage of building that is there only where `labels.others` are asked. Nothing is made from it: it is made again
alone."""
SFT, REWARD = "sft", "reward"
"""Trainings that are there only where the run asks for them: one that the others go on from, and a reward model."""
TRAININGS = (SFT, REWARD, "train")
ALL_STAGES = (*BUILD_STAGES, SFT, REWARD, *STAGES[len(BUILD_STAGES) :], OPINIONS)
NOT_IDENTITY = {
    "concurrency": "how many requests are in flight changes when an answer comes, not what it says",
    "per_host": "the same",
    "contact": "how we introduce ourselves does not change what we are given",
    "timeout_s": "a longer wait changes whether a call fails, and failed calls are tried again",
    "retries": "the same",
    "give_up_after": "the same",
    "api_key_env": "who pays does not change what is answered",
    "prefill": "it says what the server can do; what it is sent stays the same",
    "length_field": "the limit is the same, whatever the server calls it",
    "identity": "it stands in place of `base_url`, which is part of it",
    "requests_per_minute": "how fast a server is asked does not change what it says",
    "tokens_per_minute": "the same",
    "price": "what an answer costs does not change what it says",
    "budget": "it decides whether a call is made, not what it says",
    "public_benchmarks": "they are measured in a run of its own, which has its own identity",
    **NOT_TRAININGS_IDENTITY,
}
"""Configuration fields that a stage's hash leaves out, and why."""
SHOWN_LATELY = 256
"""Pictures whose places are kept, since neighbours show the same."""
JOURNAL = "removing.json"
"""What a take-down is about to remove; it lies in the run's directory until all of it is gone."""


class Road(NamedTuple):
    """One run, opened."""

    config: RunConfig
    run: RunDirectory
    taxonomy: Taxonomy
    pictures: ImageStore
    models: Models
    replay: Replay | None = None
    """Set where nobody is asked, and everything comes from what is stored."""

    def stage(self, name: str, settings: Mapping[str, object], *upstream: str) -> StageDirectory:
        """Opens a stage; its identity is `settings` and the results of the stages upstream."""
        return self.run.stage(name, identity(settings), upstream)

    def restart_from(self, name: str) -> None:
        """Removes a stage and those after it, and unless nobody is to be asked the replies that could not be read.

        Raises:
            UserError: There is no stage of that name.
            RunError: The store of calls cannot be written.
        """
        self.run.restart_from(name, ALL_STAGES)
        if self.replay is None:
            self.models.store.forget_unread()

    def records(self, stage: str, kind: type[R]) -> list[R]:
        """Returns the records of a finished stage."""
        return self.run.records(stage, kind)

    def images(self) -> Shelf[ImageRecord]:
        """Returns the pictures by id."""
        return self.run.shelf("images", ImageRecord)

    def captions(self) -> CaptionOutcomes:
        """Returns what became of each picture's caption."""
        return self.run.outcomes("captions", Caption)

    def questions(self, keep: Callable[[Body], bool] = lambda _: True) -> Shelf[Question]:
        """Returns the questions that passed their checks, each once; `keep` says which of them, as JSON, are wanted."""
        return kept_questions(self.run, keep)

    def shower(self) -> Callable[[str], ImageInput]:
        """Returns the function that shows a picture by its image id, or by its digest if it is no image record."""
        places, digests = Places(), bytearray()
        for number, image in enumerate(self.run.each("images", ImageRecord)):
            places.put(image.id, number)
            digests += bytes.fromhex(image.sha256)

        @lru_cache(SHOWN_LATELY)
        def show(image: str) -> ImageInput:
            number = places.get(image)
            digest = image if number is None else digests[32 * number : 32 * number + 32].hex()
            return ImageInput(sha256=digest, path=self.pictures.path(digest))

        return show

    def model_config(self, name: str) -> dict[str, Any]:
        """Returns what identifies a model of the configuration."""
        return model_identity(self.config.models, self.models, name)

    def judge_config(self, judge: JudgeConfig, *, compares: bool = False) -> dict[str, Any]:
        """Returns what identifies a judge that labels answers, or compares two; see `judge_identity`."""
        return judge_identity(self.config.models, self.models, judge, compares=compares)

    def held_out_leaves(self) -> tuple[str, ...]:
        """Returns the paths of the leaves that training never sees."""
        return chosen_leaves(self.config, self.taxonomy).held_out

    def splits(self) -> Splits:
        """Returns which split each picture belongs to; after a take-down the others stay where they were."""
        config, seed = self.config.dataset, self.config.seed
        images = self.run.each("images", ImageRecord)
        noted = noted_splits(self._noted_splits, images, config, seed, self._splits_made_from())
        return noted or assign_splits(self.run.each("images", ImageRecord), config, self.held_out_leaves(), seed)

    def hold_splits(self) -> None:
        """Notes the splits of all pictures, before some are taken down.

        Raises:
            UserError: The pictures cannot be split so.
            RunError: The disk is full.
        """
        note_splits(self._noted_splits, self.splits(), self._splits_made_from())

    @property
    def _noted_splits(self) -> Path:
        """It lies with the pictures, so that it goes when they are collected anew."""
        return self.run.path / "images" / "splits.json"

    def _splits_made_from(self) -> str:
        made_from = {"dataset": self.config.dataset, "held_out": self.held_out_leaves(), "seed": self.config.seed}
        return config_hash(identity(made_from))


def model_identity(configs: Mapping[str, ModelConfig], models: Models, name: str) -> dict[str, Any]:
    """Returns what identifies a model: its configuration, and its fingerprint."""
    config = configs[name]
    identified = config.identified() if isinstance(config, OpenAIModelConfig) else config
    return {"config": identified, "fingerprint": models[name].fingerprint}


def judge_identity(
    configs: Mapping[str, ModelConfig], models: Models, judge: JudgeConfig, *, compares: bool = False
) -> dict[str, Any]:
    """Returns what identifies a judge in one of its tasks: its configuration, rules, rubrics, and the model it asks.

    What it compares two answers by is no part of a judge that labels them, nor the other way round: editing one rubric
    makes the stages of the other no others.
    """
    model, config = judges_model(judge), identity(judge)
    if not compares:
        config.pop("pairwise", None)
    asked = None if model is None else model_identity(configs, models, model)
    rubrics = judge_rubrics(judge, compares=compares)
    return {"config": config, "rules": judge_fingerprint(judge), "rubrics": rubrics, "model": asked}


@contextmanager
def open_road(config: RunConfig, replay: Replay | None = None, *, taking_down: bool = False) -> Iterator[Road]:
    """Opens a run for this process alone, and closes its models at the end.

    Args:
        config: The run.
        replay: Set where nobody is asked, and everything comes from what is stored.
        taking_down: Whether it is opened to remove pictures, which alone may go on with an interrupted removal.

    Raises:
        UserError: The taxonomy is unknown or broken, the leaves do not fit it, another process is at work in the
            run, or a take-down of its pictures was interrupted.
    """
    limits = DecodeLimits(**config.images.model_dump(include=set(DecodeLimits._fields)))
    taxonomy = load_taxonomy(config.taxonomy)
    chosen_leaves(config, taxonomy)
    run = RunDirectory(config.run, config.seed)
    with run.locked():
        if (config.run / JOURNAL).exists() and not taking_down:
            raise UserError(
                f"A removal of pictures from {config.run} was interrupted. Run `spavl remove CONFIG` first: without "
                "an id it ends what was begun."
            )
        store = CallStore(config.calls, str(config.run))
        models = open_models(config.models, store, replay, config.execution)
        try:
            yield Road(config, run, taxonomy, ImageStore(config.run / "pictures", limits), models, replay)
        finally:
            models.close()
            store.close()


async def once(stage: StageDirectory, station: Callable[[], Awaitable[Manifest] | Manifest]) -> Manifest:
    """Runs the station unless its stage is finished, says what it lacks for now, and returns the manifest."""
    manifest = stage.manifest()
    if manifest is None:
        made = station()
        manifest = await made if isinstance(made, Awaitable) else made
    counts = manifest.counts
    if counts.passing:
        often = commonest(failure for _, failure in stage.each_failure() if failure.transient)
        print(
            f"{stage.name}: {counts.passing} of {counts.items} failed, are left out and may be asked again (most often "
            f"{often}). Once that is mended or over, `--restart-from {stage.name}` asks for them, and only for them.",
            file=sys.stderr,
        )
    return manifest


def identity(value: object) -> Any:  # noqa: ANN401  # JSON
    """Returns a configuration as JSON without the fields of `NOT_IDENTITY`."""
    if isinstance(value, Config):
        fields = type(value).model_fields
        return {name: identity(getattr(value, name)) for name in fields if name not in NOT_IDENTITY}
    if isinstance(value, Mapping):
        return {str(key): identity(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [identity(one) for one in value]
    return value
