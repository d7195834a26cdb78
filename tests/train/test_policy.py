"""What trains and what does not, in which precision, and what the model was before."""

import re
from pathlib import Path

import pytest
import torch
from tests.tiny_families import IMAGE_ID, build, make_pictures, model_inputs, prompt_ids, text_ids
from tests.train.material import settings
from torch.optim import AdamW

from spavl.config import LoraSettings, TrainConfig
from spavl.errors import RunError, UserError
from spavl.models.loading import Vlm, load_vlm
from spavl.train.families import FAMILIES, family_of
from spavl.train.logprobs import tree_logprobs
from spavl.train.policy import Policy, open_policy
from spavl.train.render import Row, open_picture
from spavl.train.tree import pack_rows
from spavl.train.vision_cache import Pictures, VisionTraining

LORA = LoraSettings(rank=4, alpha=8, dropout=0.1)


def opened(vlm: Vlm, seed: int = 0, folder: Path | None = None, **changes: object) -> Policy:
    return open_policy(vlm, family_of(vlm.model), settings(**changes), seed, folder)


def forward(policy: Policy) -> torch.Tensor:
    with policy.precision():
        hidden = policy.model.model.language_model(input_ids=torch.arange(6)[None]).last_hidden_state
        return policy.model.lm_head(hidden)


def test_adapters_lie_on_every_linear_layer_of_the_language_model_and_nowhere_else(vlm: Vlm) -> None:
    """Two layers of seven at rank 4: q, o 4·(32+32); k, v 4·(32+16); gate, up, down 4·(32+64).

    That is 2·(2·256 + 2·192 + 3·384) = 4096.
    """
    policy = opened(vlm, lora=LORA)
    assert policy.count_trainable() == {"language": 4096, "projector": 0, "vision": 0}
    adapted = {name.split(".lora_")[0] for name in policy.trainable()}
    assert len(adapted) == 14
    assert all(re.fullmatch(r"model\.language_model\.layers\.\d\.(self_attn|mlp)\.\w+_proj", name) for name in adapted)


def test_the_papers_adapters_can_be_written_down(vlm: Vlm) -> None:
    """Rank 256: 64 times the weights of rank 4, scaled by 512 / 256."""
    policy = opened(vlm, lora=LoraSettings(rank=256, alpha=512, targets="all_linear"))
    assert policy.count_trainable()["language"] == 64 * 4096
    assert policy.model.model.language_model.layers[0].mlp.up_proj.scaling == {"default": 2.0}


def test_targets_are_endings_of_names(vlm: Vlm) -> None:
    """q_proj and down_proj in two layers at rank 4: 2·(4·64 + 4·96); `up_proj` is no ending of `mlp.up`."""
    policy = opened(vlm, lora=LoraSettings(rank=4, targets=("q_proj", "mlp.down_proj")))
    assert policy.count_trainable()["language"] == 2 * (4 * 64 + 4 * 96)


def test_a_target_that_matches_nothing_is_named_with_what_exists(vlm: Vlm) -> None:
    with pytest.raises(UserError, match=r"'c_attn' is the end of no linear.*down_proj, gate_proj, k_proj.*all_linear"):
        opened(vlm, lora=LoraSettings(targets=("q_proj", "c_attn")))


def test_full_training_takes_the_language_model_and_nothing_else(vlm: Vlm) -> None:
    policy = opened(vlm, lora=None)
    language = {id(one) for one in vlm.model.model.language_model.parameters()}
    assert {id(one) for one in policy.trainable().values()} == language
    assert policy.peft is None


def test_projector_and_last_blocks_train_with_adapters(vlm: Vlm) -> None:
    """The projector has 32·32 + 32 twice; of two blocks the second is not read (vision_feature_layer -2).

    The first one has norms 2·64, attention 4·(32·32 + 32), MLP 32·64 + 64 + 64·32 + 32.
    """
    policy = opened(vlm, lora=LORA, projector=True, vision_blocks=1)
    block = 2 * 64 + 4 * (32 * 32 + 32) + 2 * 32 * 64 + 64 + 32
    assert policy.count_trainable() == {"language": 4096, "projector": 2 * (32 * 32 + 32), "vision": block}
    assert {name.rpartition("layers.")[2][0] for name in policy.parts["vision"]} == {"0"}


def test_more_blocks_than_count_are_refused(vlm: Vlm) -> None:
    with pytest.raises(UserError, match=r"=2; allowed: 0 to 1 blocks, or all"):
        opened(vlm, vision_blocks=2)


def test_every_trained_weight_gets_a_gradient(vlm: Vlm) -> None:
    """The whole tower trains, but not the block and the norm behind what the projector reads: nothing reaches them."""
    policy = opened(vlm, lora=None, projector=True, vision_blocks="all")
    picture = policy.model.get_image_features(pixel_values=torch.rand(1, 3, 28, 28)).pooler_output[0]
    hidden = policy.model.model.language_model(inputs_embeds=picture[None]).last_hidden_state
    words = policy.model.get_input_embeddings()(torch.arange(6)).sum()
    (policy.model.lm_head(hidden).sum() + words).backward()
    assert [name for name, one in policy.trainable().items() if one.grad is None] == []
    assert any("embeddings" in name for name in policy.parts["vision"])
    assert not any("layers.1." in name or "post_layernorm" in name for name in policy.parts["vision"])


@pytest.mark.parametrize("lora", [LORA, None])
def test_trained_weights_are_float32_and_compute_in_bfloat16(tiny: Path, lora: LoraSettings | None) -> None:
    policy = opened(load_vlm(tiny, "bfloat16"), lora=lora, projector=True, vision_blocks=1, dtype="bfloat16")
    assert {one.dtype for one in policy.trainable().values()} == {torch.float32}
    language = policy.model.model.language_model.parameters()
    assert {one.dtype for one in language if not one.requires_grad} == ({torch.bfloat16} if lora else set())
    logits = forward(policy)
    assert logits.dtype == torch.bfloat16
    logits.float().sum().backward()
    assert all(one.grad.dtype == torch.float32 for one in policy.parts["language"].values() if one.grad is not None)


def test_trained_weights_are_read_unrounded(tiny: Path) -> None:
    """The folder holds float32; loaded in bfloat16 the weights lost sixteen bits, which the masters get back."""
    exact = dict(load_vlm(tiny).model.named_parameters())
    rounded = opened(load_vlm(tiny, "bfloat16"), lora=None, dtype="bfloat16").trainable()
    restored = opened(load_vlm(tiny, "bfloat16"), folder=tiny, lora=None, dtype="bfloat16").trainable()
    assert all(torch.equal(one, exact[name]) for name, one in restored.items())
    assert not all(torch.equal(one, exact[name]) for name, one in rounded.items())


def test_only_the_adapters_dropout_is_in_training_mode(vlm: Vlm) -> None:
    training = {name for name, module in opened(vlm, lora=LORA).model.named_modules() if module.training}
    assert training and all("lora_dropout" in name for name in training)


def test_the_seed_decides_the_first_weights(tiny: Path) -> None:
    def first(seed: int) -> torch.Tensor:
        return next(iter(opened(load_vlm(tiny), seed).trainable().values()))

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))


def test_each_part_has_its_rate_and_only_matrices_decay(vlm: Vlm) -> None:
    rates = {"learning_rate": 1e-5, "projector_learning_rate": 1e-6, "weight_decay": 0.1}
    policy = opened(vlm, lora=LORA, projector=True, vision_blocks=1)
    config = TrainConfig(model="tiny", projector=True, vision_blocks=1, **rates)
    groups = policy.parameter_groups(config)
    found = [(one["part"], one["initial_lr"], one["weight_decay"], {p.dim() for p in one["params"]}) for one in groups]
    assert found == [
        ("language", 1e-5, 0.1, {2}),
        ("projector", 1e-6, 0.1, {2}),
        ("projector", 1e-6, 0.0, {1}),
        ("vision", 1e-5, 0.1, {2}),
        ("vision", 1e-5, 0.0, {1}),
    ]
    in_groups = [id(one) for group in AdamW(groups).param_groups for one in group["params"]]
    assert in_groups == [id(one) for one in policy.trainable().values()]


@torch.no_grad()
def test_with_adapters_alone_the_reference_is_there_at_any_time(vlm: Vlm) -> None:
    before = vlm.model.lm_head(vlm.model.model.language_model(input_ids=torch.arange(6)[None]).last_hidden_state)
    policy = opened(vlm, lora=LoraSettings(rank=4))
    assert torch.equal(forward(policy), before)
    for parameter in policy.trainable().values():
        parameter.add_(0.05)
    with policy.as_reference():
        assert torch.equal(forward(policy), before)
    assert not torch.allclose(forward(policy), before)
    assert all(parameter.requires_grad for parameter in policy.trainable().values())


@pytest.mark.parametrize("changes", [{"lora": None}, {"projector": True}])
def test_overwritten_weights_are_no_reference(vlm: Vlm, changes: dict[str, object]) -> None:
    """An optimiser's step is noticed, and so is a checkpoint that is copied in."""
    policy = opened(vlm, **changes)
    with policy.as_reference() as model:
        assert not model.lm_head(torch.ones(1, 32)).requires_grad
    parameters = list(policy.trainable().values())
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    AdamW(parameters).step()
    with pytest.raises(RunError, match="after weights had been trained"), policy.as_reference():
        pass


def test_checkpointed_layers_give_the_same_gradients_and_keep_less(tiny: Path) -> None:
    """Bytes that autograd keeps are counted; dropout is drawn again the same way."""

    def gradients(checkpointing: bool) -> tuple[list[torch.Tensor], int]:
        policy = opened(
            load_vlm(tiny), lora=LORA, projector=True, vision_blocks=1, gradient_checkpointing=checkpointing
        )
        kept: list[int] = []

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            kept.append(tensor.nbytes)
            return tensor

        torch.manual_seed(1)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = forward(policy).square().mean()
            size = sum(kept)
            loss.backward()
        return [one.grad for one in policy.parts["language"].values() if one.grad is not None], size

    (plain, much), (again, little) = gradients(False), gradients(True)
    assert len(plain) == 28 and all(torch.equal(one, other) for one, other in zip(plain, again, strict=True))
    assert little < much / 3


def test_an_unknown_family_is_refused_with_what_is_allowed(vlm: Vlm) -> None:
    vlm.model.config.model_type = "blip"
    with pytest.raises(UserError, match="'blip' cannot be trained; allowed: llava"):
        family_of(vlm.model)


@pytest.mark.parametrize("model_type", [family.model_type for family in FAMILIES])
@pytest.mark.parametrize(
    "changes",
    [
        {"lora": None, "projector": True, "vision_blocks": "all", "dtype": "float32"},
        {"lora": None, "projector": True, "vision_blocks": 1, "dtype": "bfloat16"},
        {"lora": LORA, "vision_blocks": 1, "dtype": "bfloat16"},
        {"lora": LORA, "projector": True, "vision_blocks": "all", "dtype": "bfloat16"},
    ],
    ids=["everything", "bfloat16", "frozen projector", "whole tower"],
)
def test_in_every_family_what_trains_gets_a_gradient(
    model_type: str, changes: dict[str, object], tmp_path: Path
) -> None:
    """A picture and an answer pass the model's own forward; AdamW's state, and so a checkpoint, needs each gradient."""
    vlm = build(model_type, getattr(torch, str(changes["dtype"])))
    picture = open_picture(make_pictures(tmp_path)("red"))
    ids = [*prompt_ids(vlm, picture), *text_ids(4, seed=9)]
    inputs = model_inputs(vlm, ids, [picture])
    policy = opened(vlm, **changes)
    with policy.precision():
        logits = vlm.model(**inputs).logits[0, -5:]
    logits.float().logsumexp(dim=-1).sum().backward()
    assert [name for name, one in policy.trainable().items() if one.grad is None] == []
    assert {one.grad.dtype for one in policy.trainable().values() if one.grad is not None} == {torch.float32}


@pytest.mark.parametrize("model_type", [family.model_type for family in FAMILIES])
def test_checkpointing_changes_no_gradient_of_a_tree(model_type: str, tmp_path: Path) -> None:
    """The backward pass comes when the model's own attention is back, and the layers still run again over trees."""
    picture = make_pictures(tmp_path)

    def gradients(checkpointing: bool) -> list[torch.Tensor]:
        vlm = build(model_type)
        changes = {"lora": LORA, "projector": True, "vision_blocks": 1, "gradient_checkpointing": checkpointing}
        policy = opened(vlm, **changes)
        trains = VisionTraining(projector=True, tower=1)
        pictures = Pictures(vlm, family_of(vlm.model), picture, trains)
        prompt = tuple(prompt_ids(vlm, open_picture(picture("red"))))
        rows = [Row(f"p-{n}", "red", (*prompt, 5 + n), ((6, 7, 8), (9, 10))) for n in range(2)]
        (packed,) = pack_rows(rows, [0, 1], 4096, frozenset({IMAGE_ID}))
        torch.manual_seed(1)
        tree_logprobs(vlm.model, family_of(vlm.model), packed, pictures).per_token.sum().backward()
        return [one.grad for one in policy.trainable().values() if one.grad is not None]

    plain, again = gradients(False), gradients(True)
    assert len(plain) == len(again)
    assert all(torch.equal(one, other) for one, other in zip(plain, again, strict=True))
