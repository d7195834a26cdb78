"""The models of the benchmark: real transformers classes with random weights, in the proportions of known models.

Width and depth are cut so that a step takes seconds on a CPU. What decides where the time goes is kept near the real
model: the tokens of a picture, the tower's weight beside the language model's, and the head's beside the layers'.
Nothing is learned and no text is meant; only time, tokens, memory and equality of the losses are looked at.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
)
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLTextConfig, Qwen2_5_VLVisionConfig
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.smolvlm.configuration_smolvlm import SmolVLMVisionConfig
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

PAD, BEGIN, END, IMAGE, VISION_START, VISION_END, VIDEO = range(7)
"""The ids of the marks; words follow."""

FIRST_WORD = 7


class Shape(NamedTuple):
    """One model."""

    model: Callable[[Any], Any]
    """Config -> model with random weights."""
    config: Any
    image_processor: Callable[[], Any]
    picture: tuple[int, int]
    """Width and height of the pictures, in pixels."""
    image_tokens: int
    """Tokens of one picture in the prompt."""

    @property
    def words(self) -> int:
        """How many words the vocabulary has besides the marks."""
        return int(self.config.get_text_config().vocab_size) - FIRST_WORD


def llava15(quick: bool, layers: int | None = None) -> Shape:
    """LLaVA-1.5: 576 image tokens, the tower 4.7 % of the language model's layers and the head 2 %, as in the 7B."""
    width, depth, vocabulary = (256, 4, 512) if quick else (512, 12, 1600)
    tower = {"hidden_size": width * 3 // 8, "num_hidden_layers": max(2, depth // 3), "num_attention_heads": 3}
    text = {"hidden_size": width, "intermediate_size": width * 43 // 16, "num_hidden_layers": layers or depth}
    text |= {"num_attention_heads": width // 64, "num_key_value_heads": width // 64}
    return _llava(tower | {"intermediate_size": width * 3 // 2}, text | {"vocab_size": vocabulary})


def llava15_7b(quick: bool, layers: int | None = None) -> Shape:
    """LLaVA-1.5-7B itself: CLIP ViT-L/14 at 336 pixels, Vicuna 7B; `layers` cuts the language model."""
    tower = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
    text = {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": layers or 32}
    return _llava(tower, text | {"num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": 32064})


def smolvlm(quick: bool, layers: int | None = None) -> Shape:
    """SmolVLM-256M: 13 tiles of 1,024 patches, 832 tokens, the tower 0.8 of the layers, the head a quarter."""
    depth = 4 if quick else 10
    tile, longest, picture, tiles = (256, 512, (512, 512), 5) if quick else (512, 2048, (1024, 768), 13)
    config = SmolVLMConfig(
        vision_config=SmolVLMVisionConfig(
            hidden_size=256,
            intermediate_size=1024,
            num_hidden_layers=4 * depth // 10,
            num_attention_heads=4,
            image_size=tile,
            patch_size=16,
        ),
        text_config=LlamaConfig(
            hidden_size=192,
            intermediate_size=512,
            num_hidden_layers=layers or depth,
            num_attention_heads=3,
            num_key_value_heads=1,
            vocab_size=542 * depth,
            tie_word_embeddings=True,
            **_marks(),
        ),
        scale_factor=4,
        image_token_id=IMAGE,
        tie_word_embeddings=True,
        pad_token_id=PAD,
    )
    return Shape(
        model=SmolVLMForConditionalGeneration,
        config=config,
        image_processor=lambda: SmolVLMImageProcessorPil(
            size={"longest_edge": longest}, max_image_size={"longest_edge": tile}
        ),
        picture=picture,
        image_tokens=tiles * (tile // 16 // 4) ** 2,
    )


def qwen25vl(quick: bool, layers: int | None = None) -> Shape:
    """Qwen2.5-VL-3B: 4,096 patches and 1,024 tokens, the tower 22 % of the layers, the head 11 %."""
    width, depth, side = (256, 3, 448) if quick else (384, 9, 896)
    config = Qwen2_5_VLConfig(
        vision_config=Qwen2_5_VLVisionConfig(
            depth=7 if not quick else 3,
            hidden_size=256,
            intermediate_size=684,
            num_heads=4,
            out_hidden_size=width,
            fullatt_block_indexes=[6] if not quick else [2],
        ),
        text_config=Qwen2_5_VLTextConfig(
            hidden_size=width,
            intermediate_size=width * 43 // 8,
            num_hidden_layers=layers or depth,
            num_attention_heads=width // 64,
            num_key_value_heads=1,
            vocab_size=768 * depth,
            rope_parameters={"rope_type": "default", "rope_theta": 1e6, "mrope_section": [8, 12, 12]},
            tie_word_embeddings=True,
            **_marks(),
        ),
        image_token_id=IMAGE,
        video_token_id=VIDEO,
        vision_start_token_id=VISION_START,
        vision_end_token_id=VISION_END,
        tie_word_embeddings=True,
    )
    return Shape(
        model=Qwen2_5_VLForConditionalGeneration,
        config=config,
        image_processor=lambda: Qwen2VLImageProcessorPil(min_pixels=side * side, max_pixels=side * side),
        picture=(side, side),
        image_tokens=(side // 28) ** 2,
    )


SHAPES: dict[str, Callable[[bool, int | None], Shape]] = {
    "llava15": llava15,
    "smolvlm": smolvlm,
    "qwen25vl": qwen25vl,
    "llava15_7b": llava15_7b,
}
"""Name -> (smaller?, language layers) -> shape."""


def save_model(shape: Shape, folder: Path, dtype: torch.dtype, device: str) -> None:
    """Writes the model with seeded random weights."""
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    with torch.device(device):
        model = shape.model(shape.config)
    torch.set_default_dtype(before)
    model.save_pretrained(folder)
    del model
    if device == "cuda":
        torch.cuda.empty_cache()  # the runs need the room


def _llava(tower: dict[str, int], text: dict[str, int]) -> Shape:
    side = 336
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(image_size=side, patch_size=14, **tower),
        text_config=LlamaConfig(**text, **_marks()),
        image_token_index=IMAGE,
        image_seq_length=576,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
    return Shape(
        model=LlavaForConditionalGeneration,
        config=config,
        image_processor=lambda: CLIPImageProcessorPil(
            size={"shortest_edge": side}, crop_size={"height": side, "width": side}
        ),
        picture=(side, side),
        image_tokens=576,
    )


def _marks() -> dict[str, int]:
    return {
        "max_position_embeddings": 4096,
        "bos_token_id": BEGIN,
        "eos_token_id": END,
        "pad_token_id": PAD,
    }
