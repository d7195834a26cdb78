"""The engine against its naive twin, family by family: one row an answer, from pixels, through the model's own forward.

transformers takes the root of RMSNorm in float32 whatever the model's type, and rounds gradients there; two sums of the
same numbers in another order then differ by about 1e-7. The norms are therefore taken in float64 here, on both sides.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora.layer import Linear as LoraLinear
from tests.tiny_families import build, make_pictures, model_inputs, prompt_ids, text_ids
from torch import Tensor, nn
from torch.nn import Parameter

from spavl.models.loading import Vlm
from spavl.train.engine import Engine
from spavl.train.families import FAMILIES, family_of
from spavl.train.logprobs import pair_logprobs, row_logprobs
from spavl.train.lora_linear import join_adapters
from spavl.train.render import Row, open_picture
from spavl.train.vision_cache import Pictures, VisionTraining, vision_parameters

TYPES = tuple(family.model_type for family in FAMILIES)
TRAINED = {"full": VisionTraining(), "projector": VisionTraining(projector=True), "tower": VisionTraining(True, 1)}
LINEARS = r".*(language_model|text_model)\..*\.(q_proj|v_proj|down_proj)"
Picture = Callable[[str], Path]


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Picture:
    return make_pictures(tmp_path_factory.mktemp("pictures"))


def exact_norms(model: nn.Module) -> None:
    """Lets every RMSNorm compute in the type of its input; Gemma's multiplies by one more than its weight."""
    for module in model.modules():
        name = type(module).__name__
        if name.endswith("RMSNorm"):
            epsilon = getattr(module, "variance_epsilon", None) or module.eps
            offset = 1.0 if name.startswith("Gemma") else 0.0

            def forward(x: Tensor, m: Any = module, e: Any = epsilon, o: float = offset) -> Tensor:
                return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + e) * (o + m.weight)

            vars(module)["forward"] = forward


def make_rows(vlm: Vlm, picture: Picture) -> list[Row]:
    """Two pictures, two questions each; answers of different lengths, two of them the same."""
    rows = []
    for number, image_id in enumerate(("red", "blue")):
        prompt = tuple(prompt_ids(vlm, open_picture(picture(image_id)), seed=number))
        for question in range(2):
            asked = prompt + tuple(text_ids(3 + question, seed=10 + question))
            answers = (tuple(text_ids(4, seed=20)), tuple(text_ids(6 + question, seed=30 + 2 * number + question)))
            rows.append(Row(f"{image_id}-{question}", image_id, asked, answers))
    return rows


def naive_logprob(vlm: Vlm, row: Row, answer: Sequence[int], picture: Picture) -> Tensor:
    """Returns log π(answer | prompt) the plain way: all logits, log-softmax, gather, sum."""
    ids = [*row.prompt, *answer]
    inputs = model_inputs(vlm, ids, [open_picture(picture(row.image_id))])
    logits = vlm.model(**inputs, use_cache=False).logits[0, :-1]  # (L - 1, V)
    everywhere = logits.log_softmax(dim=-1).gather(1, torch.tensor(ids)[1:, None]).squeeze(1)
    return everywhere[len(row.prompt) - 1 :].sum()


def trained_parameters(vlm: Vlm, how: str) -> dict[str, Parameter]:
    """Sets what trains, and returns it by name: LoRA, or the language model with what `TRAINED` adds."""
    vlm.model.requires_grad_(False)
    if how == "lora":
        torch.manual_seed(0)
        get_peft_model(vlm.model, LoraConfig(r=4, lora_alpha=8, target_modules=LINEARS, init_lora_weights=False))
        join_adapters(vlm.model)
    else:
        family = family_of(vlm.model)
        for name, parameter in vlm.model.named_parameters():
            parameter.requires_grad_(family.part(name) in ("language", None))
        for parameter in vision_parameters(vlm.model, family, TRAINED[how]).values():
            parameter.requires_grad_(True)
    return {name: one for name, one in vlm.model.named_parameters() if one.requires_grad}


def part_adapters(model: nn.Module) -> None:
    """Gives the LoRA layers PEFT's own forward back, for the twin."""
    for module in model.modules():
        if isinstance(module, LoraLinear):
            del module.forward


def gradients(loss: Tensor, parameters: dict[str, Parameter]) -> Iterator[tuple[str, Tensor]]:
    found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    for (name, parameter), gradient in zip(parameters.items(), found, strict=True):
        yield name, torch.zeros_like(parameter) if gradient is None else gradient


@pytest.mark.parametrize("how", ["lora", *TRAINED])
@pytest.mark.parametrize("model_type", TYPES)
def test_log_probabilities_and_every_gradient_equal_the_naive_twins(
    model_type: str, how: str, picture: Picture
) -> None:
    vlm = build(model_type)
    exact_norms(vlm.model)
    rows = make_rows(vlm, picture)
    family = family_of(vlm.model)
    parameters = trained_parameters(vlm, how)
    pictures = Pictures(vlm, family, picture, TRAINED.get(how, VisionTraining()))
    engine = Engine(vlm.model, family, pictures, budget=10_000)
    (packed,) = engine.pack(rows, range(len(rows)))
    assert [image_id for _, image_id in packed.pictures] == ["red", "blue"]
    pairs = pair_logprobs(row_logprobs(engine.run(packed), packed), range(len(rows)))
    weights = torch.linspace(0.5, 2.0, len(rows), dtype=torch.float64)  # no two rows count alike
    ours = (weights * (pairs.chosen - 0.7 * pairs.rejected)).sum()
    part_adapters(vlm.model)
    naive = []
    for place, row in enumerate(rows):
        chosen, rejected = (naive_logprob(vlm, row, answer, picture) for answer in row.answers)
        assert abs(pairs.chosen[place] - chosen) < 1e-10 and abs(pairs.rejected[place] - rejected) < 1e-10
        naive.append(weights[place] * (chosen - 0.7 * rejected))
    twin = dict(gradients(torch.stack(naive).sum(), parameters))
    rounding = 1e-13 * max(gradient.norm() for gradient in twin.values())  # a key's bias has the gradient zero
    for name, gradient in gradients(ours, parameters):
        assert (gradient - twin[name]).norm() <= 1e-7 * twin[name].norm() + rounding, name
    assert sum(gradient.abs().max() > 0 for gradient in twin.values()) > 0.5 * len(twin)
