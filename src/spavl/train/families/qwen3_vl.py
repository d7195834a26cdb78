"""Qwen3-VL: as Qwen2.5-VL without windows; states of earlier blocks also enter the first layers (DeepStack)."""

from collections.abc import Sequence

from spavl.train.families.base import Encoded, EncoderOutputs, Family, Model, as_list
from spavl.train.families.mrope import COMPONENTS, grid_positions


def _with_deepstack(pictures: Sequence[Encoded]) -> EncoderOutputs:
    """Adds, for each layer that takes states of earlier blocks in (arXiv:2406.04334), one tensor a picture."""
    outputs = as_list(pictures)
    layers = zip(*(picture.deepstack for picture in pictures), strict=True)
    outputs["image"]["deepstack_features"] = [list(layer) for layer in layers]
    return outputs


def _read_blocks(model: Model, blocks: int) -> tuple[int, ...]:
    return tuple(sorted({*model.config.vision_config.deepstack_visual_indexes, blocks - 1}))


QWEN3_VL = Family(
    model_type="qwen3_vl",
    language_path="model.language_model",
    vision_path="model.visual",
    projector_paths=("model.visual.merger", "model.visual.deepstack_merger_list"),
    towers={"qwen3_vl_vision": "blocks"},
    text_models=("qwen3_vl_text",),
    inputs=("image_grid_thw",),
    grid_input="image_grid_thw",
    position_components=COMPONENTS,
    positions=grid_positions,
    encoder_outputs=_with_deepstack,
    read_blocks=_read_blocks,
)
