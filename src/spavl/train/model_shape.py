"""The sizes of a model that decide its work and memory, read off a model without weights (torch's meta device)."""

import math
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from spavl.train.families import Family
from spavl.train.families.tower import Tower
from spavl.train.flops import ModelShape
from spavl.train.memory import Layers, TowerBlocks
from spavl.train.vision_cache import VisionTraining, trained_blocks

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


def tower_blocks(model: Model, family: Family, inputs: PictureInputs, number: int, pictures: int) -> TowerBlocks:
    """Returns the trained blocks of the tower.

    Args:
        model: The model, on the meta device, its trained weights marked.
        family: What is known of its kind.
        inputs: One picture.
        number: How many blocks are trained.
        pictures: How many pictures pass before a backward.
    """
    vision, path = model.config.vision_config, family.blocks_path(model)
    if path is None:
        return TowerBlocks(
            number, 0, 0, 0, rotary=False, patches=0, beside=pictures * _kept_bytes(model, family, inputs)
        )
    names = [name for name, _ in next(model.get_submodule(path).children()).named_modules()]
    gated = any(name.endswith("gate_proj") for name in names)
    return TowerBlocks(
        number=number,
        width=vision.hidden_size,
        mlp_width=vision.intermediate_size,
        mlp_states=4 if gated else 3 if vision.hidden_act == "quick_gelu" else 2,
        rotary=family.grid_input is not None,
        patches=pictures * math.prod(_tiles_and_patches(vision, inputs)),
    )


def kept_picture_bytes(model: Model, family: Family, inputs: PictureInputs, trains: VisionTraining, tokens: int) -> int:
    """Returns what the cache keeps of a picture (`vision_cache.py`), a file's header left out.

    Args:
        model: The model.
        family: What is known of its kind.
        inputs: The picture.
        trains: What trains between pixels and language model.
        tokens: The picture's tokens in the language model.
    """
    tower, vision, size = Tower(model, family), model.config.vision_config, int(model.dtype.itemsize)
    if trains == VisionTraining():
        states = 1 + len(vision.to_dict().get("deepstack_visual_indexes") or ())
        return states * tokens * layers_of(model).width * size
    skipped = tower.depth - trained_blocks(tower, trains)
    states = len(tower.kept(skipped)) if skipped else 0
    return states * math.prod(_tiles_and_patches(vision, inputs)) * int(vision.hidden_size) * size


def shared_bytes(model: Model, family: Family, *, keeps_gathered: bool) -> tuple[int, int]:
    """Returns the bytes of the weights that processes cut up, and of those that are whole at once (`sharding.py`).

    Whole at once are all of them if they are kept gathered; otherwise what lies outside the layers, the layer that
    runs, and the next one, which is fetched meanwhile.
    """
    cut = sum(
        one.nbytes
        for name, one in model.named_parameters()
        if one.requires_grad or family.part(name) not in ("vision", "projector")
    )
    layers = [
        sum(one.nbytes for one in layer.parameters())
        for layer in family.language(model).get_submodule("layers").children()
    ]
    return cut, cut if keeps_gathered else cut - sum(layers) + sum(sorted(layers)[-2:])


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
    vision = model.config.vision_config
    tiles, patches = _tiles_and_patches(vision, inputs)
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


def _tiles_and_patches(vision: Any, inputs: PictureInputs) -> tuple[int, int]:  # noqa: ANN401  # untyped library
    """Returns the tiles of a picture, and the patches of a tile, a class token not counted."""
    pixels = inputs["pixel_values"]
    if pixels.dim() == 2:  # (patches, values of a patch): Qwen-VL
        return 1, pixels.shape[0]
    side = vision.patch_size if isinstance(vision.patch_size, int) else vision.patch_size[0]  # InternVL has two
    return math.prod(pixels.shape[:-3]), (pixels.shape[-2] // side) * (pixels.shape[-1] // side)  # (…, rows, columns)


def _kept_bytes(model: Model, family: Family, inputs: PictureInputs) -> int:
    """Returns what autograd keeps of a picture's pass; torch counts it, and no attention may be on the way."""
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor  # meta tensors have no address of their own
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        Tower(model, family).encode(inputs)
    for weight in model.parameters():
        kept.pop(weight.untyped_storage()._cdata, None)
    return sum(tensor.nbytes for tensor in kept.values())
