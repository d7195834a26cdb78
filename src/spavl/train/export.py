"""Writes an aligned model as a plain folder in the hub's layout: merged weights, processor and chat template.

The merged folder has the base's own precision, whatever precision was trained in.
"""

import math
from collections import Counter
from pathlib import Path

from peft import PeftModel
from safetensors import safe_open

from spavl.models.loading import load_vlm
from spavl.train.checkpoint import new_folder

DTYPES = {"F64": "float64", "F32": "float32", "BF16": "bfloat16", "F16": "float16"}
"""Name of a floating type in a safetensors header -> in torch."""


def export_merged(base: Path, adapter: Path, target: Path) -> None:
    """Writes the base with the adapter merged in; sums are formed in float32 and rounded once.

    The folder appears whole or not at all.

    Raises:
        UserError: The base cannot be opened.
        RunError: The disk is full.
    """
    vlm = load_vlm(base, stored_dtype(base))
    merged = PeftModel.from_pretrained(vlm.model, adapter).merge_and_unload()
    with new_folder(target) as folder:
        merged.save_pretrained(folder)
        vlm.processor.save_pretrained(folder)


def stored_dtype(folder: Path) -> str:
    """Returns the torch name of the floating type that most of a folder's weights are stored in."""
    sizes: Counter[str] = Counter()
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118  # not a mapping
                tensor = file.get_slice(name)
                sizes[tensor.get_dtype()] += math.prod(tensor.get_shape())
    return DTYPES[max(DTYPES, key=lambda name: sizes[name])]
