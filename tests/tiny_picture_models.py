"""Models that look at pictures, with some thousand random weights: a classifier, and one of CLIP's kind."""

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    PreTrainedModel,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
)

from tests.tiny_vlm import byte_tokenizer

SIDE = {"height": 28, "width": 28}
SIZES = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}


def build_classifier(folder: Path, labels: Sequence[str], problem_type: str | None = None) -> Path:
    """Writes an image classifier with these labels."""
    names = dict(enumerate(labels))
    config = ViTConfig(
        **SIZES,
        image_size=28,
        patch_size=14,
        id2label=names,
        label2id={name: place for place, name in names.items()},
        problem_type=problem_type,
    )
    _save(ViTForImageClassification, config, folder)
    ViTImageProcessorPil(size=SIDE).save_pretrained(folder)
    return folder


def build_clip(folder: Path) -> Path:
    """Writes a model of CLIP's kind that reads 32 bytes of text."""
    words = byte_tokenizer()
    config = CLIPConfig(
        text_config={
            **SIZES,
            "vocab_size": len(words),
            "max_position_embeddings": 32,
            "eos_token_id": words.eos_token_id,
            "bos_token_id": words.bos_token_id,
            "pad_token_id": words.pad_token_id,
        },
        vision_config={**SIZES, "image_size": 28, "patch_size": 14},
        projection_dim=8,
    )
    _save(CLIPModel, config, folder)
    CLIPImageProcessorPil(size=SIDE, do_center_crop=False, crop_size=SIDE).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def _save(kind: type[PreTrainedModel], config: ViTConfig | CLIPConfig, folder: Path) -> None:
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        model = kind(config)
        with torch.no_grad():  # the usual scale of 0.02 makes every figure the same, whatever the picture
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    parameter.normal_(0.0, 0.3)
    model.save_pretrained(folder)
