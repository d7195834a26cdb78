"""Loads a vision-language model from a folder, and renders the prompts it reads; training uses the same functions.

It refuses weights that are not safetensors, and a checkpoint that lacks weights of the model it names: transformers
would fill those with random numbers and only warn.
"""

import json
import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import torch
from huggingface_hub.errors import StrictDataclassError
from jinja2 import TemplateError
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor, GenerationConfig
from transformers.utils import logging

from spavl.errors import UserError

_LOAD_ERRORS = (
    OSError,
    ValueError,
    LookupError,
    ArithmeticError,
    AttributeError,
    TypeError,
    ImportError,
    RuntimeError,
    MemoryError,
    AssertionError,
    SafetensorError,
    StrictDataclassError,
)
"""What transformers and torch raise for a folder that is no model or a damaged one, a device that is not there, or too
little memory."""


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
        raise UserError(
            f"path: {folder} cannot be opened as a vision-language model on {device} in {dtype}: {_one_line(error)}. "
            "Check the folder (config.json, processor, tokenizer, *.safetensors), the device and the memory."
        ) from error
    _refuse_missing(report, "path", folder)
    return Vlm(model, _complete(processor, folder))


def load_picture_model(kind: Any, folder: Path, device: str, field: str) -> Any:  # noqa: ANN401  # many classes
    """Loads a model that writes nothing, in evaluation mode and float32; no code from its folder runs.

    Args:
        kind: The Auto class that opens it.
        folder: The model's folder, in the hub's layout.
        device: A torch device.
        field: The configuration's field that names the folder, for errors.

    Raises:
        UserError: The folder holds no such model or not all of its weights, or it does not fit into memory.
    """
    logging.disable_progress_bar()
    try:
        options = {"dtype": torch.float32, "use_safetensors": True, "output_loading_info": True}
        model, report = kind.from_pretrained(folder, trust_remote_code=False, **options)
        model = model.to(device).eval()
    except _LOAD_ERRORS as error:
        raise UserError(
            f"{field}: {folder} cannot be opened with {kind.__name__} on {device}: {_one_line(error)}. "
            "Check the folder (config.json, *.safetensors), the device and the memory."
        ) from error
    _refuse_missing(report, field, folder)
    return model


def load_part(kind: Any, folder: Path, field: str) -> Any:  # noqa: ANN401  # many classes
    """Loads a model's tokenizer or image processor; `kind` is the Auto class that opens it.

    Raises:
        UserError: The folder has none.
    """
    try:
        return kind.from_pretrained(folder, trust_remote_code=False)
    except _LOAD_ERRORS as error:
        raise UserError(
            f"{field}: {folder} cannot be opened with {kind.__name__}: {_one_line(error)}. Get the whole folder."
        ) from error


def _refuse_missing(report: Mapping[str, Any], field: str, folder: Path) -> None:
    lacking = sorted({*report["missing_keys"], *(str(key) for key in report["mismatched_keys"])})
    if lacking:
        raise UserError(f"{field}: {folder} lacks {len(lacking)} weights of its model, the first is {lacking[0]}.")


def load_skeleton(folder: Path) -> Any:  # noqa: ANN401  # every model family has its own class
    """Loads a model without its weights, on torch's meta device: the names, shapes and settings of its parameters.

    Raises:
        UserError: The folder holds no such model.
    """
    try:
        _register_own_tower(folder)
        with torch.device("meta"):
            model = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(folder)).eval()
        if (folder / "generation_config.json").exists():
            model.generation_config = GenerationConfig.from_pretrained(folder)
    except _LOAD_ERRORS as error:
        raise UserError(
            f"path: {folder} cannot be read as a vision-language model: {_one_line(error)}. Check its config.json."
        ) from error
    return model


def load_processor(folder: Path) -> Any:  # noqa: ANN401  # every model family has its own class
    """Loads a model's processor alone.

    Raises:
        UserError: The folder holds none, or one that does not take pictures and text.
    """
    try:
        processor = AutoProcessor.from_pretrained(folder)
    except _LOAD_ERRORS as error:
        raise UserError(f"path: {folder} has no processor that can be opened: {_one_line(error)}.") from error
    return _complete(processor, folder)


def _complete(processor: Any, folder: Path) -> Any:  # noqa: ANN401  # every model family has its own class
    if not hasattr(processor, "tokenizer") or not hasattr(processor, "image_processor"):
        raise UserError(f"path: {folder} has no processor for pictures and text; it needs processor_config.json.")
    if processor.tokenizer.pad_token is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    return processor


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def render_prompt(
    processor: Any,  # noqa: ANN401  # every model family has its own class
    prompt: str,
    *,
    has_image: bool,
    answered: str = "",
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
    if answered:
        turns.append({"role": "assistant", "content": [{"type": "text", "text": marks.sub(_broken, answered)}]})
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


def holds_mark(processor: Any, text: str) -> bool:  # noqa: ANN401  # every model family has its own class
    """Returns whether a text holds a mark of the template, which `render_prompt` breaks."""
    return _marks(processor.tokenizer).search(text) is not None


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
