"""Writes what was trained: `model/`, a plain folder in the hub's layout, and with LoRA `adapter/`, a PEFT folder.

Both are made from files alone, the base's and a checkpoint's, so no model is opened. The merged model has the base's
files, names and precision, tensor for tensor, whatever precision was trained in; what was not trained keeps every bit.

    W = W_base + (alpha / rank) B A          (LoRA, Hu et al. 2021, arXiv 2106.09685, eq. 3), rounded once
"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from peft import LoraConfig
from torch import Tensor

from spavl.config import LoraSettings
from spavl.errors import RunError
from spavl.models.loading import load_skeleton
from spavl.store.files import new_folder
from spavl.train.stored import StoredModel, live_names, write_tensors

LORA_A, LORA_B = ".lora_A.default.weight", ".lora_B.default.weight"
"""Endings of the adapters' live names."""

Beside = Callable[[Path], None]
"""Writes what else belongs into a folder before it appears."""


def _nothing(folder: Path) -> None:
    """Writes nothing."""


def export_model(
    base: Path,
    trained: Mapping[str, Tensor],
    lora: LoraSettings | None,
    target: Path,
    beside: Beside = _nothing,
) -> None:
    """Writes the base with what was trained put in. The folder appears whole or not at all.

    Args:
        base: The model's folder as it was before.
        trained: Live name -> trained tensor, as a checkpoint holds them.
        lora: The adapters' settings, if there are adapters.
        target: The new folder.
        beside: Writes what else belongs into it.

    Raises:
        UserError: The base cannot be read.
        RunError: A trained tensor belongs to nothing in the base, or the disk is full.
    """
    stored = StoredModel(base)
    names = live_names(load_skeleton(base), stored.files)
    products = _products(trained, lora)
    lost = {name for name in trained if ".lora_" not in name} | products.keys()
    lost -= set(names.values())
    if lost:
        raise RunError(f"{base} has no tensor for {len(lost)} of what was trained, for example {min(lost)}.")

    def change(name: str, tensor: Tensor) -> Tensor:
        live = names.get(name, name)
        if live in products:
            a, b, scale = products[live]
            return tensor.to(torch.promote_types(tensor.dtype, torch.float32)) + scale * (b @ a)
        return trained[live].clone() if live in trained else tensor  # a tied tensor may be stored twice

    with new_folder(target) as folder:
        stored.rewrite(folder, change)
        beside(folder)


def export_adapter(
    base: Path, trained: Mapping[str, Tensor], lora: LoraSettings, target: Path, beside: Beside = _nothing
) -> None:
    """Writes the adapters in PEFT's layout, and what was trained beside them as PEFT's `modules_to_save`.

    Args:
        base: The model's folder as it was before; PEFT's configuration names it.
        trained: Live name -> trained tensor, as a checkpoint holds them.
        lora: The adapters' settings.
        target: The new folder.
        beside: Writes what else belongs into it.

    Raises:
        RunError: The disk is full.
    """
    layers = [name.removesuffix(LORA_A) for name in trained if name.endswith(LORA_A)]
    owners = {name: name.rpartition(".")[0] for name in trained if ".lora_" not in name}
    # PEFT saves whole modules: what lies directly in the whole model (LLaVA-NeXT's image_newline) it cannot
    bare = {name for name, owner in owners.items() if any(layer.startswith(f"{owner}.") for layer in layers)}
    config = LoraConfig(
        base_model_name_or_path=str(base),
        inference_mode=True,
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=layers,
        modules_to_save=_outermost(owner for name, owner in owners.items() if name not in bare) or None,
        bias="none",
    )
    with new_folder(target) as folder:
        config.save_pretrained(folder)
        _sort_lists(folder / "adapter_config.json")  # PEFT keeps names in sets
        # PEFT's names: the wrapper's two levels, and no adapter's name
        named = {name: f"base_model.model.{name.replace('.default.', '.')}" for name in trained if name not in bare}
        write_tensors(folder / "adapter_model.safetensors", {named[name]: trained[name] for name in named})
        if bare:
            write_tensors(folder / "beside_adapter.safetensors", {name: trained[name] for name in bare})
        beside(folder)


def _products(trained: Mapping[str, Tensor], lora: LoraSettings | None) -> dict[str, tuple[Tensor, Tensor, float]]:
    """Returns for each adapted weight A (r, in), B (out, r) and the scale of their product."""
    layers = [name.removesuffix(LORA_A) for name in trained if name.endswith(LORA_A)]
    if lora is None:
        return {}
    scale = lora.alpha / lora.rank
    return {f"{layer}.weight": (trained[layer + LORA_A], trained[layer + LORA_B], scale) for layer in layers}


def _outermost(modules: Iterable[str]) -> list[str]:
    """Returns the modules that lie in none of the others."""
    found = sorted(set(modules))
    return [one for one in found if not any(one.startswith(f"{other}.") for other in found)]


def _sort_lists(path: Path) -> None:
    body = {name: sorted(one) if isinstance(one, list) else one for name, one in json.loads(path.read_bytes()).items()}
    path.write_text(json.dumps(body, indent=2, sort_keys=True))
