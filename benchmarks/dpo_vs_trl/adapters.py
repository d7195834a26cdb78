"""LoRA adapters that are equal in both systems."""

from typing import Any

import torch
from benchmarks.dpo_vs_trl.job import LORA_RANK, LORA_TARGETS
from peft import LoraConfig


def lora_config() -> LoraConfig:
    """Returns adapters on every linear layer of the language model."""
    return LoraConfig(r=LORA_RANK, lora_alpha=2 * LORA_RANK, target_modules=LORA_TARGETS)


def seed_adapters(model: Any) -> None:  # noqa: ANN401  # any family
    """Draws the adapters anew, from one seed and in the order of their names; B stays zero."""
    generator = torch.Generator().manual_seed(0)
    for _, parameter in sorted((name, weight) for name, weight in model.named_parameters() if "lora_A" in name):
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.02)
