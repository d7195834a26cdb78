"""A model's folder as it lies on the disk: which file holds which tensor, and which live parameter that tensor is.

Names in files and live names differ for most families (transformers#43701). A folder is therefore never saved from a
live model: it is rewritten from another folder, file by file and name by name, with some tensors changed. What loads
the one loads the other, and a tensor that nobody changed keeps every bit. One file is in memory at a time.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

from spavl.errors import RunError, UserError
from spavl.models.weights import DECIDING_SUFFIXES
from spavl.store.files import disk_errors_named

Change = Callable[[str, Tensor], Tensor]
"""(name in the file, stored tensor) -> the tensor to write in its place."""


class StoredModel:
    """The safetensors of a folder in the hub's layout.

    Args:
        folder: The model's folder.

    Raises:
        UserError: The folder has no safetensors, or one that cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, Path] = {}
        """Tensor's name -> its file."""
        for path in sorted(folder.glob("*.safetensors")):
            with self._open(path) as file:
                self.files |= dict.fromkeys(file.keys(), path)
        if not self.files:
            raise UserError(f"{folder} holds no *.safetensors. Give the folder of a model in the hub's layout.")

    def tensor(self, name: str) -> Tensor:
        """Returns a tensor as it is stored."""
        with self._open(self.files[name]) as file:
            tensor: Tensor = file.get_tensor(name)
        return tensor

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns the shape of every tensor; none is read."""
        shapes: dict[str, tuple[int, ...]] = {}
        for path in sorted(set(self.files.values())):
            with self._open(path) as file:
                shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        return shapes

    def rewrite(self, target: Path, change: Change) -> None:
        """Writes the folder anew into the existing folder `target`: files, names and precision stay.

        Args:
            target: Where it is written.
            change: Gives each tensor's new value; its precision is put back to the stored one.

        Raises:
            RunError: The disk is full.
        """
        for path in sorted(set(self.files.values())):
            with self._open(path) as file:
                stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
            changed = {name: change(name, tensor).to(tensor.dtype).contiguous() for name, tensor in stored.items()}
            write_tensors(target / path.name, changed)
        for path in sorted(self.folder.iterdir()):
            if path.is_file() and path.suffix in DECIDING_SUFFIXES - {".safetensors"}:
                shutil.copyfile(path, target / path.name)

    @staticmethod
    def _open(path: Path) -> Any:  # noqa: ANN401  # untyped library
        try:
            return safe_open(path, framework="pt")
        except (OSError, SafetensorError) as error:
            raise UserError(f"{path} cannot be read ({error}). Get the file again from where it came.") from error


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Writes a safetensors file that transformers and PEFT read, straight from the tensors: none is copied.

    Raises:
        RunError: The disk is full or the folder may not be written.
    """
    with disk_errors_named(path):
        try:
            save_file(tensors, path, metadata={"format": "pt"})
        except SafetensorError as error:  # how the library says that the system could not write
            code = re.search(r"os error (\d+)", str(error))
            if code is None:
                raise RunError(f"Cannot write {path} ({error}). Run the same command again.") from error
            raise OSError(int(code[1]), os.strerror(int(code[1]))) from error


def live_names(model: Any, stored: Iterable[str]) -> dict[str, str]:  # noqa: ANN401  # untyped library
    """Returns the live parameter's name for every stored tensor that is a parameter by itself.

    Tied parameters have one name, the first in the model's order; what is fused or split in loading is left out.

    Args:
        model: The model, on any device, without adapters in it.
        stored: Names in the files.
    """
    mapping = getattr(model, "_weight_conversions", None) or get_model_conversion_mapping(model)
    renamings = [one for one in mapping if isinstance(one, WeightRenaming)]
    converters = [one for one in mapping if isinstance(one, WeightConverter)]
    known = dict(model.named_parameters(remove_duplicate=False))
    first = {id(parameter): name for name, parameter in model.named_parameters()}
    named = {}
    for name in stored:
        live, converter = rename_source_key(name, renamings, converters, model.base_model_prefix, known)
        if live not in known and name in known:
            live = name
        if live in known and converter is None:
            named[name] = first[id(known[live])]
    return named
