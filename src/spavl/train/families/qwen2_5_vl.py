"""Qwen2.5-VL: a tower with windows over a grid of any shape, a merger at its end, three-component positions."""

from typing import Any

from spavl.train.families.base import Family
from spavl.train.families.mrope import COMPONENTS, grid_positions


def _refusal(config: Any) -> tuple[str, ...]:  # noqa: ANN401  # untyped library
    if config.text_config.use_sliding_window:
        return ("it sets use_sliding_window, whose meaning beside three-component positions is not settled",)
    return ()


QWEN2_5_VL = Family(
    model_type="qwen2_5_vl",
    language_path="model.language_model",
    vision_path="model.visual",
    projector_paths=("model.visual.merger",),
    towers={"qwen2_5_vl_vision": "blocks"},
    text_models=("qwen2_5_vl_text",),
    inputs=("image_grid_thw",),
    grid_input="image_grid_thw",
    position_components=COMPONENTS,
    positions=grid_positions,
    refusal=_refusal,
)
