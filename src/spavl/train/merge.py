"""A model between two models: the base and what alignment made of it, mixed tensor by tensor.

    W = (1 - α) W_base + α W_aligned

α = 0 is the base and α = 1 the aligned model; between them safety is bought with less of what alignment cost (model
soups, Wortsman et al. 2022, arXiv 2203.05482; WiSE-FT, arXiv 2109.01903, section 3). Above 1 it extrapolates (ExPO,
arXiv 2404.16792, eq. 3). No model is opened: it works on the files, and has one tensor of the base in memory at a time.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from spavl.errors import UserError
from spavl.store.files import new_folder
from spavl.train.stored import StoredModel

MAX_ALPHA = 2.0
"""Further out than this nobody has found a model that speaks."""
NOT_ARCHITECTURE = frozenset({"transformers_version", "_name_or_path", "dtype", "torch_dtype", "use_cache"})
"""Keys of config.json that say nothing of what the weights mean."""


class Merged(NamedTuple):
    """What merging made."""

    model: Path
    """A folder in the hub's layout."""
    tensors: int
    mixed: int
    """Tensors that differ between the two; the others are copied."""


def merge_models(base: Path, aligned: Path, alpha: float, target: Path) -> Merged:
    """Writes the mixture of two folders; names, files, precision, configuration and processor are the aligned one's.

    The folder appears whole or not at all.

    Args:
        base: Folder of the model as it was.
        aligned: Folder of the aligned one.
        alpha: Share of the aligned one, 0 to 2; above 1 it goes on beyond it.
        target: Where the mixture is written; nothing may be there.

    Raises:
        UserError: α is out of range, `target` exists, or the two are not models of one kind.
        RunError: The disk is full.
    """
    if not 0 <= alpha <= MAX_ALPHA:
        raise UserError(
            f"--alpha {alpha}: it is the aligned model's share, 0 to 1; up to {MAX_ALPHA:g} goes on beyond it. "
            "Try 0.5, 0.7 and 0.9, and evaluate each."
        )
    if target.exists():
        raise UserError(f"--out {target}: it exists already. Name a new folder, or remove it.")
    ours, theirs = StoredModel(aligned), StoredModel(base)
    _check_configs(base, aligned)
    _check_tensors(theirs, ours)
    mixed = 0

    def mix(name: str, tensor: Tensor) -> Tensor:
        nonlocal mixed
        before = theirs.tensor(name)
        if torch.equal(before.to(tensor.dtype), tensor):
            return tensor  # rounding shall not change what alignment left alone
        if not tensor.is_floating_point():
            raise UserError(f"{name} holds whole numbers that differ in {base} and {aligned}; they cannot be mixed.")
        mixed += 1
        wide = torch.promote_types(tensor.dtype, torch.float32)
        return (1 - alpha) * before.to(wide) + alpha * tensor.to(wide)

    with new_folder(target) as folder:
        ours.rewrite(folder, mix)
    return Merged(target, len(ours.files), mixed)


def _check_configs(base: Path, aligned: Path) -> None:
    before, after = (_architecture(_read_config(folder)) for folder in (base, aligned))
    differing = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    if differing:
        key = differing[0]
        raise UserError(
            f"{base} and {aligned} are models of different kinds: `{key}` in config.json is {before.get(key)} and "
            f"{after.get(key)}. Give the model that the aligned one was made from."
        )


def _check_tensors(base: StoredModel, aligned: StoredModel) -> None:
    before, after = base.shapes(), aligned.shapes()
    names = sorted(before.keys() ^ after.keys())
    if names:
        owner = base.folder if names[0] in before else aligned.folder
        raise UserError(
            f"{base.folder} and {aligned.folder} do not hold the same tensors: {len(names)} differ, the first is "
            f"{names[0]}, which only {owner} has. Give the model that the aligned one was made from."
        )
    for name, shape in before.items():
        if shape != after[name]:
            raise UserError(
                f"{name} has shape {shape} in {base.folder} and {after[name]} in {aligned.folder}. Give the model that "
                "the aligned one was made from."
            )


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{folder / 'config.json'} cannot be read ({error}). Give a model's folder.") from error
    return config


def _architecture(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the configuration flat, `text_config.hidden_size` and so on, without what is no architecture."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if key in NOT_ARCHITECTURE:
            continue
        if isinstance(value, dict):
            flat |= {f"{key}.{inner}": one for inner, one in _architecture(value).items()}
        else:
            flat[key] = value
    return flat
