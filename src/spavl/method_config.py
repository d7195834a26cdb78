"""What can stand under `train`: one way of training, told apart by `method`, which is `dpo` where it is left out."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Discriminator, Tag

from spavl.rl_config import RlConfig, RlSettings
from spavl.train_config import RewardModelConfig, RewardModelSettings, TrainConfig, TrainSettings


def method(value: Any) -> Any:  # noqa: ANN401  # whatever stands in a file; pydantic names it in errors
    """Returns the way of training that settings name."""
    return value.get("method", "dpo") if isinstance(value, Mapping) else getattr(value, "method", None)


AlignmentConfig = Annotated[
    Annotated[TrainConfig, Tag("dpo")]
    | Annotated[RlConfig, Tag("ppo")]
    | Annotated[RlConfig, Tag("rloo")]
    | Annotated[RlConfig, Tag("grpo")],
    Discriminator(method),
]
"""How a run aligns its model."""

MethodSettings = Annotated[
    Annotated[TrainSettings, Tag("dpo")]
    | Annotated[RewardModelSettings, Tag("reward")]
    | Annotated[RlSettings, Tag("ppo")]
    | Annotated[RlSettings, Tag("rloo")]
    | Annotated[RlSettings, Tag("grpo")],
    Discriminator(method),
]
"""What a training recipe trains."""

MethodConfig = TrainConfig | RewardModelConfig | RlConfig


def of_model(settings: TrainSettings | RewardModelSettings | RlSettings, model: str) -> MethodConfig:
    """Returns settings for one model.

    Args:
        settings: Those of a recipe.
        model: What the model is called.
    """
    if isinstance(settings, RewardModelSettings):
        return RewardModelConfig(model=model, **dict(settings))
    if isinstance(settings, RlSettings):
        return RlConfig(model=model, **dict(settings))
    return TrainConfig(model=model, **dict(settings))
