"""Loads a vision-language model from a folder, and renders the prompts it reads; training uses the same functions.

It refuses weights that are not safetensors, and a checkpoint that lacks weights of the model it names: transformers
would fill those with random numbers and only warn.
"""

import json
import re
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jinja2 import TemplateError
from safetensors import SafetensorError
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.utils import logging

from spavl.errors import UserError

_LOAD_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    ImportError,
    RuntimeError,
    MemoryError,
    AssertionError,
    SafetensorError,
)
"""What transformers and torch raise for a folder that is no model, a device that is not there, or too little memory."""


class Vlm(NamedTuple):
    """A model and the processor that makes its inputs."""

    model: Any
    processor: Any


def load_vlm(folder: Path, dtype: str = "float32", device: str = "cpu", *, trust_remote_code: bool = False) -> Vlm:
    """Loads a model in evaluation mode, and its processor.

    Args:
        folder: The model's folder, in the hub's layout.
        dtype: Name of a torch dtype.
        device: A torch device.
        trust_remote_code: Whether code from the folder may run.

    Raises:
        UserError: The folder holds no such model or not all of its weights, or it does not fit into memory.
    """
    logging.disable_progress_bar()
    try:
        _register_own_tower(folder)
        processor = AutoProcessor.from_pretrained(folder, trust_remote_code=trust_remote_code)
        model, report = AutoModelForImageTextToText.from_pretrained(
            folder,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
        )
        model = model.to(device).eval()
    except _LOAD_ERRORS as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"path: {folder} cannot be opened as a vision-language model on {device} in {dtype}: {reason}. "
            "Check the folder (config.json, processor, tokenizer, *.safetensors), the device and the memory."
        ) from error
    lacking = sorted({*report["missing_keys"], *(str(key) for key in report["mismatched_keys"])})
    if lacking:
        raise UserError(f"path: {folder} lacks {len(lacking)} weights of its model, the first is {lacking[0]}.")
    if not hasattr(processor, "tokenizer") or not hasattr(processor, "image_processor"):
        raise UserError(f"path: {folder} has no processor for pictures and text; it needs processor_config.json.")
    if processor.tokenizer.pad_token is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    return Vlm(model, processor)


def render_prompt(
    processor: Any,  # noqa: ANN401  # every model family has its own class
    prompt: str,
    *,
    has_image: bool,
    system: str = "",
    answer_prefix: str = "",
) -> str:
    """Returns the text a model reads up to where its answer goes on.

    Marks of the template that stand in the given texts (`<image>`, an end of turn) are broken by a space, so that no
    text can end its turn or ask for a picture.

    Raises:
        UserError: The model has no chat template, or it cannot take such turns.
    """
    marks = _marks(processor.tokenizer)
    content = [{"type": "image"}] * has_image + [{"type": "text", "text": marks.sub(_broken, prompt)}]
    turns = [{"role": "user", "content": content}]
    if system:
        turns.insert(0, {"role": "system", "content": [{"type": "text", "text": marks.sub(_broken, system)}]})
    speaker = processor if processor.chat_template else processor.tokenizer
    try:
        rendered: str = speaker.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    except (TemplateError, TypeError, ValueError) as error:
        raise UserError(
            f"The chat template of this model does not take a request ({' '.join(str(error).split())[:200]}). "
            "Use a chat model; where it knows no system turn, leave `system` empty."
        ) from error
    return rendered + marks.sub(_broken, answer_prefix)


def _marks(tokenizer: Any) -> re.Pattern[str]:  # noqa: ANN401  # every model family has its own class
    special = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    return re.compile("|".join(map(re.escape, sorted(special, key=len, reverse=True))) or r"(?!)")


def _broken(mark: re.Match[str]) -> str:
    return f"{mark[0][0]} {mark[0][1:]}"


def _register_own_tower(folder: Path) -> None:
    """The embedded model's vision tower is ours; transformers knows it once its module is imported."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config.get("vision_config", {}).get("model_type") == "efficientnet_lite":
        import_module("spavl.embedded.tower")
