"""Where the adapters lie, and what else stays as it was."""

import re
from pathlib import Path

import pytest
import torch

from spavl.config import LoraSettings
from spavl.errors import UserError
from spavl.train.policy import Policy, add_adapters, load_policy
from spavl.train.weights import load_model
from tests.train.material import settings


def test_adapters_lie_on_every_linear_layer_of_the_language_model_and_nowhere_else(policy: Policy) -> None:
    """Two layers of seven; rank 4: q, o 4·(32+32); k, v 4·(32+16); gate, up, down 4·(32+64): 2·(512+384+1152) = 4096."""
    assert policy.count_trainable() == {"language": 4096, "projector": 0, "vision": 0}
    adapted = {name.split(".lora_")[0] for name in policy.trainable()}
    assert len(adapted) == 14
    assert all(re.fullmatch(r"model\.language_model\.layers\.\d\.(self_attn|mlp)\.\w+_proj", name) for name in adapted)


def test_adapters_are_float32_on_bfloat16_weights(tiny: Path) -> None:
    policy = load_policy(tiny, settings(dtype="bfloat16"), seed=0)
    assert {parameter.dtype for parameter in policy.trainable().values()} == {torch.float32}
    frozen = {parameter.dtype for parameter in policy.vlm.parameters() if not parameter.requires_grad}
    assert frozen == {torch.bfloat16}


def test_only_the_adapters_dropout_is_in_training_mode(policy: Policy) -> None:
    training = {name for name, module in policy.vlm.named_modules() if module.training}
    assert training and all("lora_dropout" in name for name in training)


def test_the_seed_decides_the_first_weights(tiny: Path) -> None:
    def first(seed: int) -> torch.Tensor:
        return next(iter(load_policy(tiny, settings(), seed).trainable().values()))

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))


def test_an_unknown_family_is_refused_with_what_is_allowed(tiny: Path) -> None:
    vlm = load_model(tiny, torch.float32)
    vlm.config.model_type = "gemma3"
    with pytest.raises(UserError, match="'gemma3' cannot be trained yet; allowed: llava"):
        add_adapters(vlm, LoraSettings(), seed=0)


def test_a_folder_without_a_model_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no vision-language model") as caught:
        load_model(tmp_path, torch.float32)
    assert "\n" not in str(caught.value)
