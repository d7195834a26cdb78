"""Pictures for the language model: what is frozen in the vision part is computed once a picture and kept.

What is kept depends on what trains: the projected features if nothing does, else the tower's state before the first
thing that does, from which the rest is run with gradient. Every kept picture is one safetensors file, named by the
SHA-256 of the picture's bytes in a folder named by the fingerprint of the weights and settings that made it. Several
processes may fill a folder at once: they write the same tensors, and files replace each other whole. A damaged file is
computed again; a file that says it was made by something else is an error.
"""

import functools
import hashlib
import json
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
import transformers
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn import Parameter

from spavl.errors import UserError
from spavl.execution import progress_bar
from spavl.models.features import FeatureCache
from spavl.models.loading import Vlm
from spavl.store.files import write_atomically
from spavl.train.families.base import Encoded, Family, Model
from spavl.train.families.tower import Tower
from spavl.train.render import open_picture, picture_digest

NOT_DECIDING = frozenset({"text_config", "_name_or_path", "transformers_version", "architectures"})
"""Settings of a model that do not change its pictures (the version of transformers counts once, as itself)."""


class VisionTraining(NamedTuple):
    """What trains between pixels and language model."""

    projector: bool = False
    tower: int | Literal["all"] = 0
    """How many of the tower's last blocks, of those that reach the projector; `all` takes its embeddings as well."""


def vision_parameters(model: Model, family: Family, trains: VisionTraining) -> dict[str, Parameter]:
    """Returns live name -> parameter of what the setting trains.

    Raises:
        UserError: The tower has not so many blocks.
    """
    tower = Tower(model, family)
    blocks = range(tower.depth - trained_blocks(tower, trains), tower.depth)
    path = family.blocks_path(model)

    def trained(name: str) -> bool:
        if family.part(name) == "projector":
            return trains.projector
        block = _block(name, path)
        return family.part(name) == "vision" and (trains.tower == "all" if block is None else block in blocks)

    return {name: parameter for name, parameter in model.named_parameters() if trained(name)}


class Pictures:
    """Image id -> the picture as the language model takes it in, with gradient to what trains.

    Args:
        vlm: The model and its processor; what does not train must not change while this object lives.
        family: What is known of the model's kind.
        picture: Image id -> file.
        trains: What trains in the vision part.
        cache: Folder to keep computed pictures in; None keeps them in memory only.

    Raises:
        UserError: The tower has not so many blocks.
    """

    def __init__(
        self,
        vlm: Vlm,
        family: Family,
        picture: Callable[[str], Path],
        trains: VisionTraining = VisionTraining(),  # noqa: B008  # immutable
        cache: Path | None = None,
    ) -> None:
        self._model, self._processor = vlm
        self._family, self._picture = family, picture
        self._tower = Tower(vlm.model, family)
        self._projected = trains == VisionTraining()
        self._skipped = self._tower.depth - trained_blocks(self._tower, trains)
        self._memory = FeatureCache()
        self._files = None
        if cache is not None and self._skipped:
            self._files = _Files(cache, vision_fingerprint(vlm, family, self._skipped, self._projected))

    def __call__(self, image_id: str) -> Encoded:
        """Returns one picture.

        Raises:
            UserError: The file is missing or is not a picture, or a kept file belongs to something else.
            RunError: The disk is full.
        """
        if not self._skipped:
            return self._tower.encode(self._inputs(image_id))
        # copied, so that what was read (mapped, at any address) and what was computed give the same last bit
        kept = [tensor.to(self._model.device, copy=True) for tensor in self._kept(image_id)]
        if self._projected:
            return _unpacked(kept, self._family)
        shape, *rest = kept
        others = dict(zip(self._family.inputs, rest, strict=False))
        blank = torch.ones(*shape.tolist(), dtype=self._model.dtype, device=self._model.device)
        return self._tower.replay({"pixel_values": blank} | others, rest[len(others) :], self._skipped)

    def fill(self, image_ids: Iterable[str]) -> None:
        """Computes the pictures that are not kept yet, so that no step waits for them; without a folder, nothing.

        Raises:
            UserError: A file is missing or is not a picture.
            RunError: The disk is full.
        """
        files = self._files
        if files is None:
            return
        missing = [image_id for image_id in dict.fromkeys(image_ids) if not files.path(self._digest(image_id)).exists()]
        with progress_bar("pictures", len(missing)) as advance:
            for image_id in missing:
                files.write(self._digest(image_id), self._compute(image_id))
                advance(1)

    def _digest(self, image_id: str) -> str:
        return picture_digest(self._picture(image_id))

    def _kept(self, image_id: str) -> list[Tensor]:
        """Returns what is kept of a picture, from memory, from its file, or computed."""
        digest = self._digest(image_id)
        return self._memory.get(digest, lambda: self._read(digest) or self._write(digest, image_id))

    def _read(self, digest: str) -> list[Tensor] | None:
        return None if self._files is None else self._files.read(digest)

    def _write(self, digest: str, image_id: str) -> list[Tensor]:
        tensors = self._compute(image_id)
        if self._files is not None:
            self._files.write(digest, tensors)
        return tensors

    @torch.no_grad()
    def _compute(self, image_id: str) -> list[Tensor]:
        """Returns what is kept: the projected picture, or pixel shape, other inputs and states before the cut."""
        inputs = self._inputs(image_id)
        if self._projected:
            kept = _packed(self._tower.encode(inputs))
        else:
            shape = torch.tensor(inputs["pixel_values"].shape)
            others = [inputs[name] for name in self._family.inputs]
            kept = [shape, *others, *self._tower.record(inputs, self._skipped)]
        return [tensor.cpu().contiguous() for tensor in kept]

    def _inputs(self, image_id: str) -> dict[str, Tensor]:
        """Returns what `get_image_features` takes, made as the processor makes it for a prompt."""
        options = _options(self._processor)
        made = self._processor.image_processor(open_picture(self._picture(image_id)), return_tensors="pt", **options)
        made = made.to(device=self._model.device, dtype=self._model.dtype)
        inputs = {name: made[name] for name in ("pixel_values", *self._family.inputs)}
        return {name: value.bool() if name.endswith("_mask") else value for name, value in inputs.items()}


class _Files:
    """The kept pictures of one fingerprint, one file each."""

    def __init__(self, cache: Path, fingerprint: str) -> None:
        self._folder, self._fingerprint = cache / fingerprint, fingerprint

    def path(self, digest: str) -> Path:
        """Returns where the picture of this digest lies."""
        return self._folder / digest[:2] / f"{digest}.safetensors"

    def read(self, digest: str) -> list[Tensor] | None:
        """Returns the tensors, mapped from the file; None if there is no file or a damaged one.

        Raises:
            UserError: The file says that it was made by something else.
        """
        path = self.path(digest)
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                note = file.metadata() or {}
                tensors = [file.get_tensor(name) for name in sorted(file.keys())]
        except SafetensorError:
            return None  # nothing is lost: the picture is computed again
        if note.get("fingerprint") != self._fingerprint:
            raise UserError(
                f"{path} was made by another model or other settings (fingerprint {note.get('fingerprint')}, not "
                f"{self._fingerprint}). Remove it, or give another cache folder."
            )
        return tensors if note.get("crc32") == _checksum(tensors) else None

    def write(self, digest: str, tensors: Sequence[Tensor]) -> None:
        """Keeps a picture.

        Raises:
            RunError: The disk is full.
        """
        named = {f"{place:03}": tensor for place, tensor in enumerate(tensors)}
        note = {"fingerprint": self._fingerprint, "crc32": _checksum(tensors)}
        write_atomically(self.path(digest), save(named, metadata=note))


def vision_fingerprint(vlm: Vlm, family: Family, skipped: int, projected: bool) -> str:
    """Returns the SHA-256 of everything that decides what is kept of a picture.

    Args:
        vlm: The model and its processor.
        family: What is known of the model's kind.
        skipped: How many of the tower's blocks the kept state has passed.
        projected: Whether it has passed the projector too.
    """
    model = vlm.model
    settings = {name: value for name, value in model.config.to_dict().items() if name not in NOT_DECIDING}
    pixels = [vlm.processor.image_processor.to_dict(), _options(vlm.processor)]
    made_from = [transformers.__version__, str(model.dtype), skipped, projected, settings, pixels]
    digest = hashlib.sha256(json.dumps(made_from, sort_keys=True, default=str).encode())
    path = family.blocks_path(model)
    for name, tensor in sorted(model.state_dict().items()):
        block = _block(name, path) or 0
        passed = {"vision": block < skipped, "projector": projected}
        if passed.get(family.part(name) or "", False):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
            digest.update(_bytes(tensor))
    return digest.hexdigest()


def trained_blocks(tower: Tower, trains: VisionTraining) -> int:
    """Returns how many of the tower's last blocks are trained.

    Raises:
        UserError: It has not so many.
    """
    if trains.tower == "all":
        return tower.depth
    if tower.is_one_block and trains.tower:
        raise UserError(f"train.vision_blocks={trains.tower}: this tower has no blocks to part; allowed: 0 or all.")
    if not 0 <= trains.tower <= tower.depth:
        raise UserError(f"train.vision_blocks={trains.tower}; allowed: 0 to {tower.depth} blocks, or all.")
    return trains.tower


def _block(name: str, blocks_path: str | None) -> int | None:
    """Returns the tower's block that a parameter belongs to, or None if it lies in none."""
    if blocks_path is None or not name.startswith(f"{blocks_path}."):
        return None
    return int(name.removeprefix(f"{blocks_path}.").partition(".")[0])


def _packed(encoded: Encoded) -> list[Tensor]:
    return [encoded.features, *([] if encoded.grid is None else [encoded.grid]), *encoded.deepstack]


def _unpacked(kept: Sequence[Tensor], family: Family) -> Encoded:
    features, *rest = kept
    grid = rest.pop(0).cpu() if family.grid_input else None
    return Encoded(features, tuple(rest), grid)


def _options(processor: Any) -> dict[str, Any]:  # noqa: ANN401  # every model family has its own class
    """Returns what a processor passes on to its image processor for a prompt (InternVL's and SmolVLM's tiles)."""
    return dict(getattr(processor, "images_kwargs", {}))


def _checksum(tensors: Sequence[Tensor]) -> str:
    return f"{functools.reduce(lambda crc, tensor: zlib.crc32(_bytes(tensor), crc), tensors, 0):08x}"


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
