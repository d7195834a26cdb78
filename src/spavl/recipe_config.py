"""Configuration of a training recipe: one model, aligned on a preference dataset that is there already.

It stands beside a run's configuration, shares its parts, and is told apart by its key `data`.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from spavl.config import (
    Config,
    EmbeddedModelConfig,
    HfModelConfig,
    ModelConfig,
    NamedPath,
    TrainSettings,
    judging_models,
)
from spavl.method_config import MethodConfig, MethodSettings, of_model
from spavl.rl_config import RlSettings


class DataConfig(Config):
    """A preference dataset, in TRL's columns (`images, prompt`) or SPA-VL's (`image` or `image_name`, `question`)."""

    path: str
    """Local folder in the hub's dataset layout (Parquet), or a hub id."""
    revision: str | None = None
    """Commit or tag, for a hub id."""
    split: str = Field("train", pattern=r"^\w+$")
    limit: int | None = Field(None, ge=1)
    """Only the first rows; `null` for all."""
    images: NamedPath | None = None
    """Folder of the pictures that `image_name` names; `null` for `images` in the dataset's folder."""
    meta_files: NamedPath | None = None
    """Folder of SPA-VL's meta files, in the dataset's folder or anywhere: classes, question types and rationales, which
    its training rows lack, are joined from there; `null` joins nothing."""
    licence: str | None = Field(None, min_length=1)
    """Licence of rows that name none; `null` takes the `license` of the dataset's card, and without one it is unknown.
    """
    max_bytes: int = Field(50_000_000, ge=1)
    """Largest picture file."""
    max_pixels: int = Field(40_000_000, ge=1, le=178_956_970)
    """Largest width times height that is decoded; Pillow's own limit is the most."""
    min_side: int = Field(4, ge=1)
    """Shortest side, in pixels; a row with a smaller picture is left out. Qwen's processors refuse pictures that are
    over 200 times as long as wide."""
    stored_side: int = Field(512, ge=32)
    """Longer side of the stored copy, in pixels; for models that read pictures in their own size it bounds the tokens.
    """


class RecipeConfig(Config):
    """A training and nothing else: a model, data, settings."""

    run: NamedPath
    """The run's directory."""
    seed: int = 0
    model: Annotated[EmbeddedModelConfig | HfModelConfig, Field(discriminator="kind")]
    """The model to start from; `train.dtype` and `train.device` say how it is trained."""
    models: dict[str, ModelConfig] = Field(default_factory=dict)
    """Name -> model, for the judges among `train.reward` and `train.cost` that ask one."""
    calls: NamedPath = Path("runs/calls.sqlite")
    """The store of those models' calls, shared between runs."""
    data: DataConfig
    train: MethodSettings = TrainSettings()
    """What is trained: `method` is `dpo`, `reward`, `ppo`, `rloo` or `grpo`."""

    @model_validator(mode="after")
    def _names_exist(self) -> "RecipeConfig":
        named = judging_models(self.train) if isinstance(self.train, RlSettings) else {}
        unknown = "; ".join(
            f"{at}: there is no model '{name}'" for at, name in named.items() if name not in self.models
        )
        if unknown:
            known = ", ".join(sorted(self.models)) or "none; add it there, as in a run's configuration"
            raise ValueError(f"{unknown}; `models` has {known}")
        return self

    @property
    def settings(self) -> MethodConfig:
        """The training settings, and the model's name."""
        name = Path(self.model.path).name if isinstance(self.model, HfModelConfig) else self.model.kind
        return of_model(self.train, name)
