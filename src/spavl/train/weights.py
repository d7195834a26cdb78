"""Model folders in the hub's layout: opening them, telling them apart, and writing merged ones."""

import hashlib
import importlib
import json
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors import SafetensorError
from transformers import AutoModelForImageTextToText, AutoProcessor

from spavl.errors import UserError
from spavl.train.checkpoint import new_folder

OWN_TOWERS = {"efficientnet_lite": "spavl.embedded.tower"}
"""Vision towers that are not part of transformers -> the module whose import makes them known."""

_UNLOADABLE = (OSError, ValueError, KeyError, SafetensorError)
"""What `from_pretrained` raises for a folder that holds no such model."""


def load_model(folder: Path, dtype: torch.dtype | str) -> Any:  # noqa: ANN401  # untyped library
    """Loads a vision-language model on the CPU; `"auto"` keeps the precision it was stored in.

    Raises:
        UserError: The folder holds no vision-language model that transformers can load.
    """
    try:
        tower = json.loads((folder / "config.json").read_bytes()).get("vision_config", {}).get("model_type")
        if tower in OWN_TOWERS:
            importlib.import_module(OWN_TOWERS[tower])
        return AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype, local_files_only=True)
    except _UNLOADABLE as error:
        raise UserError(f"{folder} holds no vision-language model that can be trained: {_one_line(error)}") from error


def load_processor(folder: Path) -> Any:  # noqa: ANN401  # untyped library
    """Loads the processor beside a model.

    Raises:
        UserError: The folder holds no processor.
    """
    try:
        return AutoProcessor.from_pretrained(folder, local_files_only=True)
    except _UNLOADABLE as error:
        raise UserError(f"{folder} holds no processor: {_one_line(error)}") from error


def weights_sha256(folder: Path) -> str:
    """Returns the SHA-256 over a model folder's configuration and weights.

    Raises:
        UserError: The folder holds no safetensors weights.
    """
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise UserError(f"{folder} holds no .safetensors weights. Give a model folder in the hub's layout.")
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for path in weights:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def export_merged(base: Path, adapter: Path, target: Path) -> None:
    """Writes the base with the adapter merged in, at the base's own precision, with its processor beside it.

    The sums are formed in float32 and rounded once. The folder appears whole or not at all.

    Raises:
        RunError: The disk is full.
    """
    merged = PeftModel.from_pretrained(load_model(base, "auto"), adapter).merge_and_unload()
    with new_folder(target) as temporary:
        merged.save_pretrained(temporary)
        load_processor(base).save_pretrained(temporary)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
