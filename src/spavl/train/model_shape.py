"""The sizes of a model that decide its work and memory, read off a model without weights (torch's meta device)."""

import math
from typing import Any

import torch
from PIL import Image
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from spavl.train.families import Family
from spavl.train.families.tower import Tower
from spavl.train.flops import ModelShape
from spavl.train.memory import Layers

Model = Any
"""A `...ForConditionalGeneration` of transformers."""
PictureInputs = dict[str, Any]
"""What a model's `get_image_features` takes for one picture."""
VALUES_DECIDE = frozenset({"image_grid_thw", "pixel_attention_mask"})
"""Inputs whose values decide the way through the tower; without values it is estimated (Qwen-VL, SmolVLM)."""


def shape_of(model: Model, family: Family, inputs: PictureInputs) -> ModelShape:
    """Returns what decides the work of a model; adapters must not be in it yet."""
    text = model.config.get_text_config()
    tower, projector = _picture_flops(model, family, inputs)
    return ModelShape(
        windows=_windows(text.to_dict(), text.num_hidden_layers),
        attention_width=layers_of(model).attention_width,
        linear=sum(one.weight.numel() for one in family.language(model).modules() if isinstance(one, nn.Linear)),
        head=model.get_output_embeddings().weight.numel(),
        tower=tower,
        projector=projector,
    )


def layers_of(model: Model) -> Layers:
    """Returns the widths of the language model's layers."""
    text = model.config.get_text_config()
    head_size = text.to_dict().get("head_dim") or text.hidden_size // text.num_attention_heads
    return Layers(
        text.num_hidden_layers, text.hidden_size, text.intermediate_size, text.num_attention_heads * head_size
    )


def picture_inputs(processor: Any, family: Family, picture: Image.Image) -> PictureInputs:  # noqa: ANN401
    """Returns what the vision tower takes for a picture; its pixels lie on the meta device."""
    options = dict(getattr(processor, "images_kwargs", {}))
    made = processor.image_processor(picture, return_tensors="pt", **options)
    inputs = {name: made[name] for name in ("pixel_values", *family.inputs)}
    return inputs | {"pixel_values": inputs["pixel_values"].to("meta")}


def _windows(text: dict[str, Any], layers: int) -> tuple[int | None, ...]:
    window = text.get("sliding_window")
    kinds = text.get("layer_types") or ["sliding_attention" if window else "full_attention"] * layers
    return tuple(window if kind == "sliding_attention" else None for kind in kinds)


def _picture_flops(model: Model, family: Family, inputs: PictureInputs) -> tuple[int, int]:
    """Returns the work of a picture in tower and projector: counted by torch where the tower runs without values."""
    if VALUES_DECIDE.intersection(family.inputs):
        return _estimated_picture_flops(model, family, inputs)
    projector = 0
    started: list[int] = []
    counter = FlopCounterMode(display=False)

    def enter(*_: object) -> None:
        started.append(counter.get_total_flops())

    def leave(*_: object) -> None:
        nonlocal projector
        projector += counter.get_total_flops() - started.pop()

    for name, module in model.named_modules():
        if name in family.projector_paths:
            module.register_forward_pre_hook(enter)
            module.register_forward_hook(leave)
    with torch.no_grad(), counter:
        Tower(model, family).encode(inputs)
    return counter.get_total_flops() - projector, projector


def _estimated_picture_flops(model: Model, family: Family, inputs: PictureInputs) -> tuple[int, int]:
    """Returns 2 N for each patch, attention within a tile, and 2 N for each merged patch; windows are left out."""
    vision, pixels = model.config.vision_config, inputs["pixel_values"]
    if pixels.dim() == 2:  # (patches, values of a patch): Qwen-VL
        tiles, patches = 1, pixels.shape[0]
    else:  # (..., channels, rows, columns)
        tiles = math.prod(pixels.shape[:-3])
        patches = (pixels.shape[-2] // vision.patch_size) * (pixels.shape[-1] // vision.patch_size)
    weights: dict[str | None, int] = {"vision": 0, "projector": 0}
    entering = None
    for name, module in model.named_modules():
        part = family.part(name)
        if part in weights and isinstance(module, nn.Linear | nn.Conv2d | nn.Conv3d):
            weights[part] += module.weight.numel()
        if part == "projector" and entering is None and isinstance(module, nn.Linear):
            entering = module.in_features
    width, depth = vision.hidden_size, Tower(model, family).depth
    tower = tiles * (2 * weights["vision"] * patches + 4 * depth * width * patches**2)
    merged = tiles * patches * width // (entering or width)
    return tower, 2 * weights["projector"] * merged
