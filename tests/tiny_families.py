"""A tiny random model of every family that can be trained, in float64, with the real classes of transformers.

Sizes are chosen so that what is special of a family matters: Qwen2.5-VL's tower has windows smaller than a picture,
Gemma-3's window is smaller than a sequence and than a picture's block, LLaVA reads the last block but one, tiled
families cut a picture into several tiles. Processors that need torchvision are not built: there is an image
processor, and ids are put together by hand.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3TextConfig,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    PretrainedConfig,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Config,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    SiglipVisionConfig,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
)
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

from spavl.models.loading import Vlm
from spavl.train.families import family_of

VOCABULARY, IMAGE_ID, VIDEO_ID, START_ID, END_ID = 64, 63, 62, 61, 60
"""Ids from 60 on stand for no text: picture token, video token, and the marks around a picture."""
WIDTH = 32

TEXT: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
VISION: dict[str, Any] = {
    "hidden_size": WIDTH,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "image_size": 56,
    "patch_size": 14,
}
QWEN_VISION: dict[str, Any] = {
    "depth": 4,
    "hidden_size": WIDTH,
    "intermediate_size": 48,
    "num_heads": 2,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "out_hidden_size": WIDTH,
}
QWEN_IDS = {
    "image_token_id": IMAGE_ID,
    "video_token_id": VIDEO_ID,
    "vision_start_token_id": START_ID,
    "vision_end_token_id": END_ID,
}
MROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]}


def build(model_type: str, dtype: torch.dtype = torch.float64, **changes: Any) -> Vlm:
    """Builds the tiny model of a type; the same type gives the same weights.

    Args:
        model_type: A type of `spavl.train.families.FAMILIES`.
        dtype: Precision.
        changes: Settings of the model's configuration that differ from the usual.
    """
    config, model_class, image_processor, options = _MAKERS[model_type]()
    for name, value in changes.items():
        setattr(config, name, value)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(7)
        model = model_class(config)
        with torch.no_grad():  # the usual scale of 0.02 makes every answer the same, whatever the picture
            for name, parameter in model.named_parameters():
                if parameter.dim() > 1 or "newline" in name:
                    parameter.normal_(0.0, 1.0 if "embed_tokens" in name else 0.3)
    processor = SimpleNamespace(image_processor=image_processor, images_kwargs=options)
    return Vlm(model.to(dtype).eval(), processor)


def make_pictures(folder: Path) -> Callable[[str], Path]:
    """Writes noise named `red` and `blue`, wider than high so that tiles differ in number from rows to columns."""
    for number, name in enumerate(("red", "blue")):
        noise = np.random.default_rng(number).integers(0, 256, (60, 100, 3), dtype=np.uint8)
        noise[..., 2 * number] |= 128
        Image.fromarray(noise).save(folder / f"{name}.png")
    return lambda image_id: folder / f"{image_id}.png"


def pixel_inputs(vlm: Vlm, picture: Image.Image) -> dict[str, Tensor]:
    """Returns what the model's `get_image_features` takes for a picture."""
    made = vlm.processor.image_processor(picture, return_tensors="pt", **vlm.processor.images_kwargs)
    made = made.to(dtype=vlm.model.dtype)
    return {name: made[name] for name in ("pixel_values", *family_of(vlm.model).inputs)}


def prompt_ids(vlm: Vlm, picture: Image.Image, seed: int = 0) -> list[int]:
    """Returns random text, the picture's tokens between marks, and random text."""
    with torch.no_grad():
        output = vlm.model.get_image_features(**pixel_inputs(vlm, picture), return_dict=True)
    count = sum(len(part) for part in output.pooler_output)
    before, after = text_ids(5, seed), text_ids(6, seed + 1)
    return [*before, START_ID, *[IMAGE_ID] * count, END_ID, *after]


def text_ids(count: int, seed: int) -> list[int]:
    """Returns random ids of text."""
    return torch.randint(3, END_ID, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def model_inputs(vlm: Vlm, ids: Sequence[int], pictures: Sequence[Image.Image]) -> dict[str, Tensor]:
    """Returns what the model's own forward takes for one row with these pictures in it, as its processor would."""
    inputs: dict[str, Tensor] = {"input_ids": torch.tensor([ids])}
    made = [pixel_inputs(vlm, picture) for picture in pictures]
    # SmolVLM: (1, tiles of all pictures, ...); LLaVA-NeXT: (pictures, tiles, ...), equal in number here
    joined = 1 if vlm.model.config.model_type in ("smolvlm", "idefics3") else 0
    inputs |= {name: torch.cat([one[name] for one in made], dim=joined) for name in made[0]}
    kinds = (inputs["input_ids"] == IMAGE_ID).int()
    if "qwen" in vlm.model.config.model_type:
        inputs["mm_token_type_ids"] = kinds
    if vlm.model.config.model_type == "gemma3":
        inputs["token_type_ids"] = kinds
    return inputs


Maker = Callable[[], tuple[PretrainedConfig, Any, Any, dict[str, Any]]]


def _llava() -> tuple[PretrainedConfig, Any, Any, dict[str, Any]]:
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**VISION, projection_dim=WIDTH),
        text_config=LlamaConfig(**TEXT),
        image_token_index=IMAGE_ID,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
    return config, LlavaForConditionalGeneration, CLIPImageProcessorPil(**_square(56)), {}


def _llava_next() -> tuple[PretrainedConfig, Any, Any, dict[str, Any]]:
    tiles = [[56, 112], [112, 56], [112, 112]]
    config = LlavaNextConfig(
        vision_config=CLIPVisionConfig(**VISION, projection_dim=WIDTH),
        text_config=LlamaConfig(**TEXT),
        image_token_index=IMAGE_ID,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        image_grid_pinpoints=tiles,
    )
    processor = LlavaNextImageProcessorPil(
        size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}, image_grid_pinpoints=tiles
    )
    return config, LlavaNextForConditionalGeneration, processor, {}


def _qwen2_5_vl() -> tuple[PretrainedConfig, Any, Any, dict[str, Any]]:
    config = Qwen2_5_VLConfig(
        vision_config=QWEN_VISION | {"window_size": 56, "fullatt_block_indexes": [1, 3]},
        text_config=TEXT | {"rope_parameters": MROPE},
        **QWEN_IDS,
    )
    return config, Qwen2_5_VLForConditionalGeneration, _qwen_pixels(), {}


def _qwen3_vl() -> tuple[PretrainedConfig, Any, Any, dict[str, Any]]:
    config = Qwen3VLConfig(
        vision_config=QWEN_VISION | {"num_position_embeddings": 16, "deepstack_visual_indexes": [0, 2]},
        text_config=TEXT | {"head_dim": 8, "rope_parameters": MROPE},
        **QWEN_IDS,
    )
    return config, Qwen3VLForConditionalGeneration, _qwen_pixels(), {}


def _smolvlm() -> tuple[PretrainedConfig, Any, Any, dict[str, Any]]:
    config = SmolVLMConfig(
        vision_config=dict(VISION), text_config=LlamaConfig(**TEXT), image_token_id=IMAGE_ID, scale_factor=2
    )
    return config, SmolVLMForConditionalGeneration, _tiles(), {"return_row_col_info": True}


def _idefics3() -> tuple[PretrainedConfig, Any, Any, dict[str, Any]]:
    config = Idefics3Config(
        vision_config=dict(VISION), text_config=LlamaConfig(**TEXT), image_token_id=IMAGE_ID, scale_factor=2
    )
    return config, Idefics3ForConditionalGeneration, _tiles(), {"return_row_col_info": True}


def _internvl() -> tuple[PretrainedConfig, Any, Any, dict[str, Any]]:
    config = InternVLConfig(
        vision_config=InternVLVisionConfig(**VISION), text_config=Qwen2Config(**TEXT), image_token_id=IMAGE_ID
    )
    processor = GotOcr2ImageProcessorPil(size={"height": 56, "width": 56}, max_patches=4)
    return config, InternVLForConditionalGeneration, processor, {"crop_to_patches": True}


def _gemma3() -> tuple[PretrainedConfig, Any, Any, dict[str, Any]]:
    config = Gemma3Config(
        vision_config=SiglipVisionConfig(**VISION),
        text_config=Gemma3TextConfig(
            **TEXT,
            head_dim=8,
            query_pre_attn_scalar=8,
            sliding_window=3,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        ),
        image_token_index=IMAGE_ID,
        mm_tokens_per_image=4,
        boi_token_index=START_ID,
        eoi_token_index=END_ID,
    )
    return config, Gemma3ForConditionalGeneration, Gemma3ImageProcessorPil(**_square(56, crop=False)), {}


def _square(side: int, crop: bool = True) -> dict[str, Any]:
    size = {"height": side, "width": side}
    return {"size": size} | ({"crop_size": size, "do_center_crop": False} if crop else {})


def _qwen_pixels() -> Any:
    """A picture of 60 x 100 becomes 6 x 10 patches, 3 x 5 after merging; a window is 2 x 2 of these."""
    return Qwen2VLImageProcessorPil(patch_size=14, merge_size=2, min_pixels=84 * 112, max_pixels=84 * 112)


def _tiles() -> Any:
    return SmolVLMImageProcessorPil(size={"longest_edge": 112}, max_image_size={"longest_edge": 56})


_MAKERS: dict[str, Maker] = {
    "llava": _llava,
    "llava_next": _llava_next,
    "qwen2_5_vl": _qwen2_5_vl,
    "qwen3_vl": _qwen3_vl,
    "smolvlm": _smolvlm,
    "idefics3": _idefics3,
    "internvl": _internvl,
    "gemma3": _gemma3,
}
