"""What is exported loads in plain transformers and plain PEFT, and is the model that was trained."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from PIL import Image
from safetensors.torch import load_file, save_file
from tests.tiny_families import build
from tests.train.material import settings
from torch import Tensor
from transformers import AutoConfig, AutoModelForImageTextToText

from spavl.config import LoraSettings, TrainConfig
from spavl.errors import RunError
from spavl.models.loading import load_vlm
from spavl.train.export import export_adapter, export_model
from spavl.train.families import FAMILIES, family_of
from spavl.train.policy import Policy, open_policy

LORA = LoraSettings(rank=4, alpha=12)
MODES = {
    "lora": {"lora": LORA},
    "lora_projector": {"lora": LORA, "projector": True},
    "lora_projector_tower": {"lora": LORA, "projector": True, "vision_blocks": "all"},
    "full": {"lora": None},
    "full_projector_two_blocks": {"lora": None, "projector": True, "vision_blocks": 2},
}


@pytest.fixture(scope="module")
def base(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three tower blocks, in float16, in several files, under the names that LLaVA-1.5 has on the hub."""
    folder = Path(shutil.copytree(tiny, tmp_path_factory.mktemp("base") / "model"))
    (folder / "model.safetensors").unlink()
    config = AutoConfig.from_pretrained(tiny)
    config.vision_config.num_hidden_layers = 3
    torch.manual_seed(5)
    model = AutoModelForImageTextToText.from_config(config).half()
    model.config.save_pretrained(folder)
    hub = {}
    for name, tensor in model.state_dict().items():
        name = name.replace("model.language_model.", "language_model.model.")
        name = name.replace("model.vision_tower.", "vision_tower.vision_model.")
        hub[name.replace("model.multi_modal_projector.", "multi_modal_projector.")] = tensor
    del hub["lm_head.weight"]  # tied
    files = {"model-00001-of-00002.safetensors": {}, "model-00002-of-00002.safetensors": {}}
    for place, (name, tensor) in enumerate(sorted(hub.items())):
        list(files.values())[place % 2][name] = tensor.contiguous()
    for file, tensors in files.items():
        save_file(tensors, folder / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: file for file, tensors in files.items() for name in tensors}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def trained_policy(base: Path, **changes: object) -> tuple[Policy, TrainConfig]:
    """Opens a policy and trains it at random."""
    config = settings(**changes)
    vlm = load_vlm(base)
    policy = open_policy(vlm, family_of(vlm.model), config, 0, base)
    return moved(policy), config


def moved(policy: Policy) -> Policy:
    """Moves everything that trains, and switches dropout off."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in policy.trainable().values():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    for module in policy.model.modules():
        module.training = False
    return policy


def checkpoint_of(policy: Policy) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in policy.trainable().items()}


@torch.no_grad()
def logits_of(model: torch.nn.Module, picture: Callable[[str], Path], processor: object) -> Tensor:
    text = "<|im_start|>user\n<image>\nplaceholder<|im_end|>\n"
    inputs = processor(images=Image.open(picture("img-0")), text=text, return_tensors="pt")
    return model(**inputs).logits


@pytest.mark.parametrize("mode", MODES)
def test_the_exported_model_is_the_live_one_tensor_for_tensor(base: Path, tmp_path: Path, mode: str) -> None:
    """The live model is float32, the base float16: every tensor is the live one, rounded once."""
    policy, config = trained_policy(base, **MODES[mode])
    export_model(base, checkpoint_of(policy), config.lora, tmp_path / "model")
    loaded, report = AutoModelForImageTextToText.from_pretrained(
        tmp_path / "model", dtype=torch.float16, output_loading_info=True
    )
    assert not any(report.values())
    live = policy.peft.merge_and_unload() if policy.peft else policy.model
    expected, found = live.state_dict(), loaded.state_dict()
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        # the order of two float32 sums may move a rounding to float16 by one place
        assert torch.allclose(tensor.float(), expected[name].half().float(), rtol=2**-10, atol=0), name
    assert sum(not torch.equal(tensor, expected[name].half()) for name, tensor in found.items()) < 5


@pytest.mark.parametrize("mode", MODES)
def test_files_and_names_are_the_bases_and_what_did_not_train_keeps_every_bit(
    base: Path, tmp_path: Path, mode: str
) -> None:
    policy, config = trained_policy(base, **MODES[mode])
    export_model(base, checkpoint_of(policy), config.lora, tmp_path / "model")
    assert sorted(one.name for one in base.iterdir()) == sorted(one.name for one in (tmp_path / "model").iterdir())
    moved = set()
    for path in base.glob("*.safetensors"):
        before, after = load_file(path), load_file(tmp_path / "model" / path.name)
        assert before.keys() == after.keys()
        assert {tensor.dtype for tensor in after.values()} == {torch.float16}
        moved |= {name for name in before if not torch.equal(before[name], after[name])}
    prefixes = {name.split(".")[0] for name in moved}
    wanted = {"language_model"}
    wanted |= {"multi_modal_projector"} if config.projector else set()
    wanted |= {"vision_tower"} if config.vision_blocks else set()
    assert prefixes == wanted
    blocks = {name.split("layers.")[1][0] for name in moved if name.startswith("vision_tower") and "layers." in name}
    assert blocks == ({"0", "1"} if config.vision_blocks else set())


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode.startswith("lora")])
def test_the_adapter_folder_gives_the_trained_model_in_plain_peft(
    base: Path, picture: Callable[[str], Path], tmp_path: Path, mode: str
) -> None:
    policy, config = trained_policy(base, **MODES[mode])
    export_adapter(base, checkpoint_of(policy), config.lora, tmp_path / "adapter")
    assert {one.name for one in (tmp_path / "adapter").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    targets = json.loads((tmp_path / "adapter" / "adapter_config.json").read_bytes())["target_modules"]
    assert len(targets) > 1 and targets == sorted(targets)  # the same bytes whatever the seed of the process's hashes
    vlm = load_vlm(base)
    before = logits_of(vlm.model, picture, vlm.processor)
    adapted = PeftModel.from_pretrained(vlm.model, tmp_path / "adapter").eval()
    logits = logits_of(adapted, picture, vlm.processor)
    assert torch.allclose(logits, logits_of(policy.model, picture, vlm.processor), atol=1e-5)
    assert not torch.allclose(logits, before, atol=1e-2)
    with adapted.disable_adapter():
        assert torch.equal(logits_of(adapted, picture, vlm.processor), before)


def test_a_tensor_that_has_no_place_in_the_base_is_an_error_and_leaves_nothing(base: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"has no tensor for 1 of what was trained, for example model\.other"):
        export_model(base, {"model.other": torch.zeros(1)}, None, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_tied_head_that_the_base_stores_twice_is_written_twice(tiny: Path, tmp_path: Path) -> None:
    """Embedding and head are one parameter, trained under its first name; both tensors of the file get its value."""
    base = Path(shutil.copytree(tiny, tmp_path / "base"))
    tensors = load_file(base / "model.safetensors")
    embeddings = "language_model.model.embed_tokens.weight"
    tensors["language_model.lm_head.weight"] = tensors[embeddings].clone()
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
    policy, _ = trained_policy(base, lora=None)
    assert "lm_head.weight" not in policy.trainable()
    export_model(base, checkpoint_of(policy), None, tmp_path / "model")
    after = load_file(tmp_path / "model" / "model.safetensors")
    assert torch.equal(after["language_model.lm_head.weight"], policy.model.lm_head.weight)
    assert torch.equal(after[embeddings], policy.model.lm_head.weight)


@pytest.mark.parametrize("model_type", [family.model_type for family in FAMILIES])
@pytest.mark.parametrize("lora", [LORA, None], ids=["lora", "full"])
def test_every_family_comes_back_from_its_export(model_type: str, lora: LoraSettings | None, tmp_path: Path) -> None:
    vlm = build(model_type, torch.float32)
    vlm.model.save_pretrained(tmp_path / "base")
    config = settings(lora=lora, projector=True, vision_blocks="all")
    policy = moved(open_policy(vlm, family_of(vlm.model), config, 0, tmp_path / "base"))
    export_model(tmp_path / "base", checkpoint_of(policy), lora, tmp_path / "model")
    loaded, report = type(vlm.model).from_pretrained(tmp_path / "model", output_loading_info=True)
    assert not any(report.values())
    live = (policy.peft.merge_and_unload() if policy.peft else policy.model).state_dict()
    assert loaded.state_dict().keys() == live.keys()
    assert all(torch.allclose(one, live[name], atol=1e-6) for name, one in loaded.state_dict().items())
    before = type(vlm.model).from_pretrained(tmp_path / "base").state_dict()
    changed = {name for name, one in loaded.state_dict().items() if not torch.equal(one, before[name])}
    assert changed >= {name for name in policy.trainable() if ".lora_" not in name}
    if lora is not None:
        export_adapter(tmp_path / "base", checkpoint_of(policy), lora, tmp_path / "adapter")
        adapted = PeftModel.from_pretrained(type(vlm.model).from_pretrained(tmp_path / "base"), tmp_path / "adapter")
        found = adapted.merge_and_unload().state_dict()
        # PEFT has no place for a bare vector of the whole model
        apart = load_file(tmp_path / "adapter" / "beside_adapter.safetensors") if model_type == "llava_next" else {}
        assert list(apart) == (["model.image_newline"] if model_type == "llava_next" else [])
        assert all(torch.allclose(found[name], one, atol=1e-6) for name, one in live.items() if name not in apart)


def test_a_disk_too_small_for_the_model_is_one_line_and_leaves_nothing(base: Path, small_disk: Any) -> None:
    policy, _ = trained_policy(base, lora=LORA)
    target = small_disk.path / "model"
    with small_disk.short(), pytest.raises(RunError, match="run the same command again") as caught:
        export_model(base, checkpoint_of(policy), LORA, target)
    assert "\n" not in str(caught.value)
    assert list(small_disk.path.iterdir()) == []
    export_model(base, checkpoint_of(policy), LORA, target)
    assert (target / "config.json").exists()
