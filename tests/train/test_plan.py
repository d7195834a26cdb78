"""The plan says what training then does, and needs what training then needs."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from tests.tiny_families import IMAGE_ID, build, make_pictures
from tests.train.material import Made, make_pairs, settings
from transformers import LlavaForConditionalGeneration

from spavl.cli.road import train
from spavl.config import LoraSettings
from spavl.errors import UserError
from spavl.loss_config import MdpoLossConfig, SimpoLossConfig
from spavl.models.loading import Vlm, load_processor, load_skeleton, load_vlm
from spavl.train import train_dpo
from spavl.train.families import FAMILIES, Encoded, family_of
from spavl.train.logprobs import tree_logprobs
from spavl.train.memory import NO_BLOCKS, Layers, Packed, TowerBlocks, Weights, memory_lines, peak_bytes
from spavl.train.model_shape import layers_of, picture_inputs, shape_of, shared_bytes, tower_blocks
from spavl.train.plan import Measured, Offered, plan_model, plan_training
from spavl.train.policy import open_policy
from spavl.train.render import Renderer, Row, open_picture, stop_ids
from spavl.train.tree import pack_rows, row_tokens
from spavl.train.vision_cache import Pictures, VisionTraining

Picture = Callable[[str], Path]
LORA = LoraSettings(rank=4)


@pytest.mark.parametrize(
    "changes", [{"lora": LORA}, {"lora": None}, {"lora": LORA, "projector": True, "vision_blocks": 1}]
)
def test_the_plan_counts_what_the_policy_trains(tiny: Path, picture: Picture, changes: dict[str, object]) -> None:
    config = settings(**changes)
    plan = plan_training(config, tiny, Offered(make_pairs(3), picture), seed=0)
    vlm = load_vlm(tiny)
    total = sum(one.numel() for one in vlm.model.parameters())
    policy = open_policy(vlm, family_of(vlm.model), config, 0)
    assert {part.name: part.trained for part in plan.parts} == policy.count_trainable()
    assert sum(part.tensors for part in plan.parts) == len(policy.trainable())
    assert sum(part.parameters for part in plan.parts) == total
    assert plan.memory[0].bytes == sum(one.nbytes for one in policy.model.parameters())


def test_steps_and_tokens_are_those_of_the_loop(tiny: Path, picture: Picture) -> None:
    """Ten pairs in batches of 4, two epochs: 2·3 steps. All are in the sample, and pack into a row for each batch.

    Questions are all different, so a batch's trees share only what their prompts begin with.
    """
    plan = plan_training(settings(), tiny, Offered(make_pairs(10), picture), seed=0)
    assert (plan.pairs, plan.measured_pairs, plan.steps) == (10, 10, 6)
    rows = Renderer(load_processor(tiny), stop_ids(load_skeleton(tiny))).rows(make_pairs(10), picture)
    alone = sum(len(row.prompt) + len(answer) for row in rows for answer in row.answers)
    assert plan.row_tokens_per_step == pytest.approx(alone * 4 / 10)
    assert plan.tokens_per_step < sum(len(row.prompt) + sum(map(len, row.answers)) for row in rows) * 4 / 10
    assert plan.longest_row <= settings().tokens_per_forward
    assert plan.row_flops_per_pair > plan.flops_per_pair


def test_a_step_has_no_more_pairs_than_there_are(tiny: Path, picture: Picture) -> None:
    plan = plan_training(settings(batch_size=8), tiny, Offered(make_pairs(3), picture), seed=0)
    rows = Renderer(load_processor(tiny), stop_ids(load_skeleton(tiny))).rows(make_pairs(3), picture)
    assert plan.row_tokens_per_step == sum(map(row_tokens, rows))


def test_twins_are_planned_as_they_are_trained(tiny: Path, picture: Picture, tmp_path: Path) -> None:
    """Four pairs about three pictures are one step; a twin has its pair's prompt and chosen answer."""
    config, pairs = settings(loss=(MdpoLossConfig(),), epochs=1, cache=tmp_path), make_pairs(4)
    plan = plan_training(config, tiny, Offered(pairs, picture), seed=0)
    plain = plan_training(settings(epochs=1), tiny, Offered(pairs, picture), seed=0)
    train_dpo(config, pairs, picture, tiny, tmp_path / "run", seed=0)
    (step,) = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert (plan.tokens_per_step, plan.row_tokens_per_step) == (step["tokens"], step["row_tokens"])
    assert step["tokens"] > plain.tokens_per_step
    rows = Renderer(load_processor(tiny), stop_ids(load_skeleton(tiny))).rows(pairs, picture)
    disk, plain_disk = ({line.name: line.bytes for line in one.disk} for one in (plan, plain))
    assert disk["reference"] == plain_disk["reference"] + 4 * sum(len(row.chosen) for row in rows)
    assert disk["pictures"] == 2 * plain_disk["pictures"]


def test_all_that_passes_before_a_backward_is_kept_however_it_is_packed(tiny: Path, picture: Picture) -> None:
    """With room for one pair a pass, a pair and its twin are two packed rows, and both are there till the backward."""
    pairs, needs = make_pairs(3), []
    rows = Renderer(load_processor(tiny), stop_ids(load_skeleton(tiny))).rows(pairs, picture)
    longest = max(row.packed_length for row in rows)
    for budget in (999, longest):
        config = settings(loss=(MdpoLossConfig(),), batch_size=1, tokens_per_forward=budget)
        plan = plan_training(config, tiny, Offered(pairs, picture), seed=0)
        needs.append((plan.longest_row, next(line.bytes for line in plan.memory if line.name == "activations")))
    (together, at_once), (apart, in_turn) = needs
    assert (apart, at_once) == (longest, in_turn) and together > longest


def test_without_a_reference_none_is_planned(tiny: Path, picture: Picture) -> None:
    offered = Offered(make_pairs(4), picture)
    plan = plan_training(settings(loss=(SimpoLossConfig(),)), tiny, offered, seed=0)
    plain = plan_training(settings(), tiny, offered, seed=0)
    assert next(line.bytes for line in plan.disk if line.name == "reference") == 0
    assert plan.flops_per_pair < plain.flops_per_pair and plan.row_flops_per_pair < plain.row_flops_per_pair
    assert plan.tokens_per_step == plain.tokens_per_step


def test_without_pairs_lengths_are_assumed_and_said_to_be(tiny: Path, picture: Picture) -> None:
    plan = plan_training(settings(), tiny, Offered(), seed=0)
    assert (plan.pairs, plan.measured_pairs, plan.steps) == (None, 0, None)
    opening = len(Renderer(load_processor(tiny), (1,)).prompt("", open_picture(picture("img-0"))))
    assert plan.row_tokens_per_step == 4 * 2 * (opening + 36 + 150)


def test_a_pair_that_does_not_fit_is_known_before_training(tiny: Path, picture: Picture) -> None:
    with pytest.raises(UserError, match="do not fit"):
        plan_training(settings(tokens_per_forward=16), tiny, Offered(make_pairs(3), picture), seed=0)


def test_a_pictures_work_is_counted_by_hand(tiny: Path, picture: Picture) -> None:
    """Five tokens of width 32 pass one block, for the second is not read; the projector has two layers for four tokens.

    Patches 2·4·32·(3·14·14), block 2·5·(4·32·32 + 2·32·64), attention twice 2·5·5·32.
    """
    model = load_skeleton(tiny)
    inputs = picture_inputs(load_processor(tiny), family_of(model), open_picture(picture("img-0")))
    shape = shape_of(model, family_of(model), inputs)
    assert shape.tower == 2 * 4 * 32 * 588 + 2 * 5 * (4 * 32 * 32 + 2 * 32 * 64) + 2 * 2 * 5 * 5 * 32
    assert shape.projector == 2 * 4 * 2 * 32 * 32
    assert shape.linear == 2 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64)
    assert shape.head == 32 * len(load_processor(tiny).tokenizer)
    assert (shape.windows, shape.attention_width) == ((None, None), 32)


@pytest.mark.parametrize("model_type", [family.model_type for family in FAMILIES])
def test_every_family_can_be_planned_without_weights(model_type: str, tmp_path: Path) -> None:
    vlm = build(model_type, torch.float32)
    model = vlm.model.to("meta")
    family = family_of(model)
    inputs = picture_inputs(vlm.processor, family, open_picture(make_pictures(tmp_path)("red")))
    rows = [Row(f"p-{n}", "red", (3, IMAGE_ID, 4, 5 + n), ((6, 7), (8,))) for n in range(2)]
    config = settings(lora=LORA, projector=True, vision_blocks=1)
    plan = plan_model(config, Vlm(model, vlm.processor), family, Measured(rows, 2, inputs), seed=0)
    assert all(part.trained for part in plan.parts)
    assert plan.flops_per_pair < plan.row_flops_per_pair
    windows = shape_of(build(model_type).model.to("meta"), family, inputs).windows
    assert any(windows) == (model_type == "gemma3")


@pytest.mark.parametrize("lora", [LORA, None], ids=["lora", "full"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "checkpointed"])
def test_activations_are_estimated_to_a_tenth(lora: LoraSettings | None, dtype: str, checkpointing: bool) -> None:
    """What a forward pass makes and leaves behind for the backward pass is counted, at widths 256 and 688.

    What lies outside the layers (embeddings, masks, the last norm, 64 logits) is there with two layers and with four,
    so the difference of the two is what two layers keep; checkpointed, one layer's share comes only in the backward.
    """
    (few, packed, _), (many, _, layers) = (kept_bytes(number, dtype, lora, checkpointing) for number in (2, 4))
    own = 0 if lora else 2 * (4 * 256 * 256 + 3 * 256 * 688)  # two layers' weights
    estimates = []
    for number in (2, 4):
        weights = Weights(1, 1, full=lora is None)
        lines = memory_lines(weights, layers._replace(number=number), packed, dtype, checkpointing=checkpointing)
        estimates.append(next(line.bytes for line in lines if line.name == "activations"))
    casts = 2 * own if dtype == "bfloat16" and not checkpointing else 0
    assert estimates[1] - estimates[0] == pytest.approx(many - few - casts, rel=0.1)


def kept_bytes(number: int, dtype: str, lora: LoraSettings | None, checkpointing: bool) -> tuple[int, Packed, Layers]:
    """Returns what autograd keeps of a tree of three questions with two answers each."""
    config = build("llava").model.config
    config.text_config.update(
        {"num_hidden_layers": number, "hidden_size": 256, "intermediate_size": 688, "num_key_value_heads": 4}
    )
    config.text_config.head_dim = 64
    model = LlavaForConditionalGeneration(config).to(getattr(torch, dtype)).eval()
    changes = {"lora": lora, "dtype": dtype, "gradient_checkpointing": checkpointing}
    policy = open_policy(Vlm(model, None), family_of(model), settings(**changes), 0)
    prompt = (3, *[IMAGE_ID] * 4, *[4] * 95)
    rows = [Row(f"p-{n}", "red", (*prompt, *(5 + n,) * 10), ((15 + n,) * 40, (25 + n,) * 40)) for n in range(3)]
    (tree,) = pack_rows(rows, range(3), 4096, frozenset({IMAGE_ID}))
    pictures = [Encoded(torch.zeros(4, 256, dtype=model.dtype))]
    with Made() as made, policy.precision():
        held = tree_logprobs(model, family_of(model), tree, lambda _: pictures[0])
    assert held.per_token.requires_grad
    return made.alive(), Packed(370, 370), layers_of(model)


def count_kept(model: torch.nn.Module, run: Callable[[], object]) -> int:
    """Returns the bytes that autograd keeps of a pass, each tensor once and weights left out."""
    parameters = {one.untyped_storage().data_ptr() for one in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in parameters:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        run()
    return sum(one.untyped_storage().nbytes() for one in kept.values())


def test_memory_by_hand() -> None:
    """Two layers of width 3, MLP 5 and attention 4, and a row of 7 tokens with 11 keys.

    Adapters in bfloat16: 1000 frozen at 2 B and 10 trained at 4; 2·((9·3 + 2·2·5)·7 + 2·2·4·11) of activations.
    All weights: 1000 trained at 4 B, cast to 2 B; checkpointed 2 layers keep 4 B a state, and one layer
    twice what it otherwise keeps.
    """
    layers, packed = Layers(2, 3, 5, 4), Packed(7, 11)
    needs = {
        line.name: line.bytes
        for line in memory_lines(Weights(2040, 10, full=False), layers, packed, "bfloat16", checkpointing=False)
    }
    assert needs == {
        "weights": 2040,
        "gathered": 0,
        "casts": 20,
        "gradients": 40,
        "moments": 80,
        "activations": 2 * (47 * 7 + 176),
        "tower": 0,
        "head": 2 * 4 * 2**24,
        "update": 40,
    }
    lines = memory_lines(Weights(4000, 1000, full=True), layers, packed, "bfloat16", checkpointing=True)
    needs = {line.name: line.bytes for line in lines}
    assert (needs["weights"], needs["casts"]) == (4000, 2000)
    assert needs["activations"] == 2 * 4 * 3 * 7 + 2 * ((22 * 3 + 20) * 7 + 176)
    assert peak_bytes(lines) == 4000 + 4000 + 8000 + 2000 + needs["activations"] + needs["head"]


def test_a_trained_towers_memory_by_hand() -> None:
    """Three blocks of width 4 with two states of an MLP of 6, and 10 patches: 3·(21·4 + 2·2·6)·10 in bfloat16.

    Checkpointed, 3 blocks keep 4 B a state, and one block all it needs. It is there at the same time as the layers'.
    """
    tower = TowerBlocks(number=3, width=4, mlp_width=6, mlp_states=2, rotary=False, patches=10)
    layers, packed, weights = Layers(2, 3, 5, 4, tower), Packed(7, 11), Weights(0, 0, full=False)
    for checkpointing, expected in ((False, 3 * 1080), (True, 3 * 4 * 4 * 10 + 1080)):
        lines = memory_lines(weights, layers, packed, "bfloat16", checkpointing=checkpointing)
        without = memory_lines(
            weights, layers._replace(tower=NO_BLOCKS), packed, "bfloat16", checkpointing=checkpointing
        )
        assert next(line.bytes for line in lines if line.name == "tower") == expected
        assert peak_bytes(lines) - peak_bytes(without) == expected


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("model_type", [family.model_type for family in FAMILIES])
def test_a_trained_towers_activations_are_estimated_to_three_tenths(
    model_type: str, dtype: str, tmp_path: Path
) -> None:
    """What autograd keeps of three trained blocks less what it keeps of two is one block's, weights left out."""
    shown = make_pictures(tmp_path)
    kept, estimates = [], []
    for number in (2, 3):
        vlm = build(model_type, getattr(torch, dtype))
        family = family_of(vlm.model)
        block = next(vlm.model.get_submodule(family.blocks_path(vlm.model) or "").children())
        inputs = picture_inputs(vlm.processor, family, open_picture(shown("red")))
        layers = layers_of(vlm.model)._replace(tower=tower_blocks(vlm.model, family, inputs, number, pictures=1))
        lines = memory_lines(Weights(0, 0, full=False), layers, Packed(1, 1), dtype, checkpointing=False)
        estimates.append(next(line.bytes for line in lines if line.name == "tower"))
        policy = open_policy(vlm, family, settings(lora=LORA, vision_blocks=number, dtype=dtype), 0)
        pictures = Pictures(vlm, family, shown, VisionTraining(tower=number))
        with policy.precision():
            kept.append(count_kept(vlm.model, lambda pictures=pictures: pictures("red")))  # type: ignore[misc]
    states = {"llava": 3, "llava_next": 3, "qwen2_5_vl": 4}  # CLIP's quick GELU; a gate; all others one GELU
    assert layers.tower.mlp_states == states.get(model_type, 2)
    casts = 2 * sum(one.numel() for one in block.parameters() if one.dim() > 1) if dtype == "bfloat16" else 0
    assert estimates[1] - estimates[0] == pytest.approx(kept[1] - kept[0] - casts, rel=0.3)


def test_several_processes_share_what_is_cut_up() -> None:
    """4000 B of weights of which 3000 are cut in 4, and 1200 are whole at work: 1750 held; 1000 trained numbers.

    Gradients 4·1000/4, moments 8·1000/4, update 4·1000/4.
    """
    weights = Weights(4000, 1000, full=True, cut=3000, gathered=1200, processes=4)
    lines = memory_lines(weights, Layers(2, 3, 5, 4), Packed(7, 11), "float32", checkpointing=False)
    needs = {line.name: line.bytes for line in lines}
    names = ("weights", "gathered", "gradients", "moments", "update")
    assert [needs[name] for name in names] == [1750, 1200, 1000, 2000, 1000]
    assert peak_bytes(lines) == 1750 + 1000 + 2000 + 1200 + needs["activations"] + needs["head"]


def test_sharding_cuts_all_but_what_is_frozen_of_the_vision_part(tiny: Path, picture: Picture) -> None:
    """With adapters alone: tower and projector stay whole; of the two layers both are at work, so zero3 gathers all."""
    offered = Offered(make_pairs(4), picture)
    model = load_vlm(tiny).model
    alone = plan_training(settings(lora=None), tiny, offered, seed=0)
    bytes_of = {part.name: 4 * part.parameters for part in alone.parts}
    held = sum(bytes_of.values())
    for parallel in ("zero2", "zero3"):
        plan = plan_training(settings(lora=None, parallel=parallel), tiny, offered, seed=0, processes=2)
        needs = {line.name: line.bytes for line in plan.memory}
        assert needs["weights"] == held - bytes_of["language"] / 2 and needs["gathered"] == bytes_of["language"]
        assert needs["gradients"] == bytes_of["language"] / 2
    config = model.config.text_config
    config.num_hidden_layers = 5
    deeper = LlavaForConditionalGeneration(model.config).to("meta")
    layer = sum(one.nbytes for one in deeper.model.language_model.layers[0].parameters())
    cut, gathered = shared_bytes(deeper.requires_grad_(False), family_of(deeper), keeps_gathered=False)
    assert cut - gathered == 3 * layer
    assert plan_training(settings(lora=None), tiny, offered, seed=0, processes=2).memory == alone.memory


@pytest.mark.parametrize(("limit", "name"), [("length", "max_length"), ("packed_length", "tokens_per_forward")])
def test_a_limit_may_be_reached_and_not_exceeded(tiny: Path, picture: Picture, limit: str, name: str) -> None:
    pairs = make_pairs(3)
    rows = Renderer(load_processor(tiny), stop_ids(load_skeleton(tiny))).rows(pairs, picture)
    longest = max(getattr(row, limit) for row in rows)
    wide = {"max_length": 999, "tokens_per_forward": 999}
    offered = Offered(pairs, picture)
    assert plan_training(settings(**wide | {name: longest}), tiny, offered, seed=0).pairs == 3
    with pytest.raises(UserError, match=rf"train\.{name}={longest - 1};.*Set train\.{name}={longest} or more"):
        plan_training(settings(**wide | {name: longest - 1}), tiny, offered, seed=0)
    shorter = settings(too_long="drop", **wide | {name: longest - 1})
    left = sum(getattr(row, limit) < longest for row in rows)
    assert plan_training(shorter, tiny, offered, seed=0).pairs == left


def test_a_tree_may_be_exactly_as_long_as_the_budget() -> None:
    """Picture and opening 2; each question 1 with answers of 2 and 3: 2 + 6 + 6 = 14, and one pair alone 8.

    One question with both pairs has 2 + 1 + 5 + 5 = 13, so a budget of 8 leaves room for one pair at a time.
    """
    apart = [Row(f"p-{n}", "red", (IMAGE_ID, 3, 10 + n), ((4,) * 2, (5,) * 3)) for n in range(2)]
    together = [Row(f"p-{n}", "red", (IMAGE_ID, 3, 10), ((4 + n,) * 2, (6 + n,) * 3)) for n in range(2)]
    for rows, budget, lengths in ((apart, 14, [14]), (apart, 13, [8, 8]), (together, 8, [8, 8])):
        packed = pack_rows(rows, range(2), budget, frozenset({IMAGE_ID}))
        assert [len(one.tokens) for one in packed] == lengths


def test_what_is_kept_of_a_picture_is_what_the_cache_then_writes(tiny: Path, picture: Picture, tmp_path: Path) -> None:
    """Four tokens of width 32 in 4 B; with the projector trained as many patches, and the class token, left out."""
    for changes, expected in (({}, 4 * 32 * 4), ({"projector": True}, 4 * 32 * 4)):
        config = settings(**changes)
        plan = plan_training(config, tiny, Offered(make_pairs(4), picture), seed=0)
        vlm = load_vlm(tiny)
        family = family_of(vlm.model)
        cache = tmp_path / str(len(changes))
        Pictures(vlm, family, picture, VisionTraining(config.projector), cache).fill(["img-0"])
        tensors = [one for path in cache.rglob("*.safetensors") for one in load_file(path).values()]
        written = sum(one.nbytes for one in tensors if one.is_floating_point())
        need = next(line for line in plan.disk if line.name == "pictures")
        assert need.bytes == 3 * expected
        assert written == expected + (32 * 4 if changes else 0)


def run_file(tiny: Path, tmp_path: Path) -> Path:
    body = {
        "run": str(tmp_path / "run"),
        "models": {"tiny": {"kind": "hf", "path": str(tiny)}},
        "questions": {"writer": "tiny"},
        "responses": {"responders": {"plain": {"model": "tiny"}, "careful": {"model": "tiny"}}},
        "train": {"model": "tiny"},
    }
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(body))
    return path


def test_the_verb_prints_the_plan_and_leaves_nothing_behind(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run_file(tiny, tmp_path)
    train(path, plan=True)
    text = capsys.readouterr().out
    for words in ("LoRA of rank 16", "projector  frozen", "assumed: there are no pairs yet", "TFLOP a pair", "MiB"):
        assert words in text
    train(path, ["train.lora=null"], plan=True, as_json=True)
    plan = json.loads(capsys.readouterr().out)
    assert plan["parts"][0]["trained"] == plan["parts"][0]["parameters"]
    assert plan["peak_bytes"] > 0
    assert not (tmp_path / "run").exists()
