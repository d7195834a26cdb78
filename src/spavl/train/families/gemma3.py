"""Gemma-3: a picture's tokens see each other in both directions, and most layers see only a window back.

transformers' rule (`create_masks_for_vision_model`): a token sees another if it is not ahead of it or is of the same
picture; on windowed layers it must also lie less than the window back.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from spavl.train.families.base import Family, Model, as_tensor


def _picture_spans(model: Model, ids: Sequence[int]) -> list[tuple[int, int]]:
    """Returns the runs of picture tokens; the marks around a picture do not belong to it."""
    spans = []
    start = 0
    for is_picture, run in groupby(ids, lambda token: token == model.config.image_token_id):
        end = start + len(list(run))
        if is_picture:
            spans.append((start, end))
        start = end
    return spans


def _refusal(config: Any) -> tuple[str, ...]:  # noqa: ANN401  # untyped library
    if config.text_config.use_bidirectional_attention:
        return ("it sets use_bidirectional_attention, so it does not read text from left to right",)
    return ()


GEMMA3 = Family(
    model_type="gemma3",
    language_path="model.language_model",
    vision_path="model.vision_tower",
    projector_paths=("model.multi_modal_projector",),
    towers={"siglip_vision_model": "encoder.layers"},
    text_models=("gemma3_text",),
    encoder_outputs=as_tensor,
    bidirectional_spans=_picture_spans,
    refusal=_refusal,
)
