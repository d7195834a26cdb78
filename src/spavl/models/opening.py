"""Opens the models of a configuration, each once, when it is first asked for.

torch and transformers are imported here and only when a local model is opened, so that a command that needs none
starts at once, and a user without the `hf` extra can still use a server.
"""

import asyncio
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from spavl.config import EmbeddedModelConfig, HfModelConfig, ModelConfig, OpenAIModelConfig
from spavl.errors import UserError
from spavl.execution_config import HERE, ExecutionConfig, LocalExecutionConfig, RayExecutionConfig
from spavl.image_config import CaptionMatchConfig, ExplicitConfig, ImagesConfig
from spavl.models.account import Account
from spavl.models.base import Model, Reply, Request
from spavl.models.call_store import CallStore, StoredModel
from spavl.models.openai import OpenAIModel
from spavl.models.replay import Replay
from spavl.models.spread import Copy, SpreadModel

if TYPE_CHECKING:
    from spavl.execution.ray_workers import RayWorkers
    from spavl.models.picture_models import CaptionScorer, PictureClassifier
    from spavl.models.picture_text import TextReader


class Models:
    """The models of a configuration by name; equal configurations share one model, and its budget.

    Args:
        configs: Name -> configuration.
        store: The store of calls, which stays open when the models are closed.
        replay: Set where no model is asked.
        execution: Where the models run.
    """

    def __init__(
        self,
        configs: Mapping[str, ModelConfig],
        store: CallStore,
        replay: Replay | None = None,
        execution: ExecutionConfig = HERE,
    ) -> None:
        self._configs = configs
        self.store = store
        self._replay = replay
        self._execution = execution
        self._workers: RayWorkers[Copy, Sequence[Request], list[Reply]] | None = None
        self._opened: dict[ModelConfig, StoredModel] = {}

    def __getitem__(self, name: str) -> StoredModel:
        """Returns the model of that name.

        Raises:
            UserError: There is no such name, or the model cannot be opened.
        """
        if name not in self._configs:
            raise UserError(f"There is no model '{name}'; `models` has {', '.join(sorted(self._configs))}.")
        return self.open(self._configs[name])

    def open(self, config: ModelConfig) -> StoredModel:
        """Returns the model of a configuration that need not have a name.

        Raises:
            UserError: The model cannot be opened.
        """
        if config not in self._opened:
            self._opened[config] = StoredModel(self._placed(config), self.store, self._account(config), self._replay)
        return self._opened[config]

    def _placed(self, config: ModelConfig) -> Model:
        """Returns the model where it runs."""
        model, execution = open_model(config), self._execution
        if isinstance(execution, LocalExecutionConfig):
            return model
        if self._workers is None:
            self._workers = open_workers(execution)
        return SpreadModel(model, config, self._workers, execution.workers)

    def _account(self, config: ModelConfig) -> Account:
        name = next((name for name, one in self._configs.items() if one == config), "")
        budget = None if isinstance(config, EmbeddedModelConfig) else config.budget
        price = config.price if isinstance(config, OpenAIModelConfig) else None
        return Account(name, budget, price, self.store.spent(name))

    def close(self) -> None:
        """Gives every model's connections and memory back; call it outside an event loop."""
        opened, self._opened = list(self._opened.values()), {}
        asyncio.run(_close(opened))
        if self._workers is not None:
            self._workers.close()


def open_models(
    configs: Mapping[str, ModelConfig],
    store: CallStore,
    replay: Replay | None = None,
    execution: ExecutionConfig = HERE,
) -> Models:
    """Returns the models of a configuration; none is opened yet, and in a replay none is ever asked."""
    return Models(configs, store, replay, execution)


def open_workers(config: RayExecutionConfig) -> "RayWorkers[Copy, Sequence[Request], list[Reply]]":
    """Returns the workers that models are asked in; they start with the first request.

    Raises:
        UserError: The `ray` extra is missing.
    """
    os.environ.update(config.environment)
    try:
        from spavl.execution.ray_workers import RayWorkers
    except ImportError as error:
        raise UserError(
            f"execution.kind: ray needs packages that are not installed ({error.name}). Run `pip install "
            "'spavl[ray]'`, or leave `execution` out."
        ) from error
    return RayWorkers(config, _open_copy)


def _open_copy(copy: Copy) -> Model:
    return copy.opened(open_model)


def local_folder(config: ModelConfig) -> Path:
    """Returns the folder with a local model's weights, which training starts from.

    Raises:
        UserError: The model is behind a server, or its weights cannot be had.
    """
    if isinstance(config, EmbeddedModelConfig):
        _require_extra("embedded")
        from spavl.embedded.assembly import mini_vlm_folder

        return mini_vlm_folder()
    if isinstance(config, HfModelConfig):
        _require_extra("hf")
        from spavl.models.weights import snapshot_folder

        return snapshot_folder(config)
    raise UserError(f"Model '{config.model}' is behind a server; only kinds embedded and hf have weights here.")


def open_caption_scorer(config: CaptionMatchConfig) -> "CaptionScorer":
    """Opens a model of CLIP's kind.

    Raises:
        UserError: There is no such model, or the `hf` extra is missing.
    """
    _require_extra("hf")
    from spavl.models.picture_models import CaptionScorer

    return CaptionScorer(config)


def open_picture_classifier(config: ExplicitConfig) -> "PictureClassifier":
    """Opens an image classifier.

    Raises:
        UserError: There is no such model, it lacks a label, or the `hf` extra is missing.
    """
    _require_extra("hf")
    from spavl.models.picture_models import PictureClassifier

    return PictureClassifier(config)


def open_text_reader() -> "TextReader":
    """Opens what reads the text in pictures.

    Raises:
        UserError: The `ocr` extra is missing.
    """
    try:
        from spavl.models.picture_text import TextReader
    except ImportError as error:
        raise UserError(
            f"images.text needs packages that are not installed ({error.name}). Run `pip install 'spavl[ocr]'`, or "
            "leave images.text out."
        ) from error
    return TextReader()


def picture_models_fingerprint(config: ImagesConfig) -> dict[str, str]:
    """Returns what identifies the models that look at pictures: digests of weights, and the version of the reader.

    Raises:
        UserError: One of them is not there.
    """
    found = {}
    for name, model in (("caption_match", config.caption_match), ("explicit", config.explicit)):
        if model is not None:
            _require_extra("hf")
            from spavl.models.picture_models import digest_of_picture_model

            found[name] = digest_of_picture_model(model)
    if config.text is not None:
        open_text_reader()
        found["text"] = f"rapidocr {version('rapidocr')}"
    return found


def open_model(config: ModelConfig) -> Model:
    """Opens a model by itself, whose calls nobody stores.

    Raises:
        UserError: It cannot be opened.
    """
    if isinstance(config, EmbeddedModelConfig):
        _require_extra("embedded")
        from spavl.models.embedded import EmbeddedModel

        return EmbeddedModel(config)
    if isinstance(config, HfModelConfig):
        _require_extra("hf")
        from spavl.models.hf import HfModel

        return HfModel(config)
    return OpenAIModel(config)


def _require_extra(extra: str) -> None:
    try:
        import torch  # noqa: F401  # only to see whether they are there
        import transformers  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"A model of kind {extra} needs packages that are not installed ({error.name}). "
            f"Run `pip install 'spavl[{extra}]'`, or use a model of kind openai."
        ) from error


async def _close(models: list[StoredModel]) -> None:
    for model in models:
        await model.close()
