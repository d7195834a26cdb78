"""Where the adapters lie, and what else stays as it was."""

import re
from pathlib import Path

import pytest
import torch

from spavl.config import LoraSettings
from spavl.errors import UserError
from spavl.models.loading import Vlm, load_vlm
from spavl.train.policy import Policy, add_adapters


def test_adapters_lie_on_every_linear_layer_of_the_language_model_and_nowhere_else(policy: Policy) -> None:
    """Two layers of seven at rank 4: q, o 4·(32+32); k, v 4·(32+16); gate, up, down 4·(32+64).

    That is 2·(2·256 + 2·192 + 3·384) = 4096.
    """
    assert policy.count_trainable() == {"language": 4096, "projector": 0, "vision": 0}
    adapted = {name.split(".lora_")[0] for name in policy.trainable()}
    assert len(adapted) == 14
    assert all(re.fullmatch(r"model\.language_model\.layers\.\d\.(self_attn|mlp)\.\w+_proj", name) for name in adapted)


def test_adapters_are_float32_on_bfloat16_weights(tiny: Path) -> None:
    policy = add_adapters(load_vlm(tiny, "bfloat16").model, LoraSettings(), seed=0)
    assert {parameter.dtype for parameter in policy.trainable().values()} == {torch.float32}
    frozen = {parameter.dtype for parameter in policy.model.parameters() if not parameter.requires_grad}
    assert frozen == {torch.bfloat16}


def test_only_the_adapters_dropout_is_in_training_mode(policy: Policy) -> None:
    training = {name for name, module in policy.model.named_modules() if module.training}
    assert training and all("lora_dropout" in name for name in training)


def test_the_seed_decides_the_first_weights(tiny: Path) -> None:
    def first(seed: int) -> torch.Tensor:
        return next(iter(add_adapters(load_vlm(tiny).model, LoraSettings(), seed).trainable().values()))

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))


def test_an_unknown_family_is_refused_with_what_is_allowed(vlm: Vlm) -> None:
    vlm.model.config.model_type = "gemma3"
    with pytest.raises(UserError, match="'gemma3' cannot be trained yet; allowed: llava"):
        add_adapters(vlm.model, LoraSettings(), seed=0)
