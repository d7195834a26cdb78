"""Projected pictures, computed once and reused: the tower and the projector are frozen, so nothing changes in them."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from spavl.models.features import CACHE_BYTES, FeatureCache
from spavl.models.loading import Vlm
from spavl.train.render import open_picture


class PictureFeatures:
    """Image id -> the picture as the language model sees it.

    Args:
        vlm: The model and its processor; tower and projector are frozen.
        picture: Image id -> file.
        max_bytes: What the cache may hold.
    """

    def __init__(self, vlm: Vlm, picture: Callable[[str], Path], max_bytes: int = CACHE_BYTES) -> None:
        self._model, self._processor = vlm
        self._picture = picture
        self._cache = FeatureCache(max_bytes)

    def __call__(self, image_id: str) -> list[Tensor]:
        """Returns one tensor (P, H) for each picture of the prompt, without gradient.

        Raises:
            UserError: The file is missing or is not a picture.
        """
        return self._cache.get(image_id, lambda: self._compute(image_id))

    @torch.no_grad()
    def _compute(self, image_id: str) -> list[Tensor]:
        inputs = self._processor.image_processor(open_picture(self._picture(image_id)), return_tensors="pt")
        inputs = inputs.to(device=self._model.device, dtype=self._model.dtype)
        return list(self._model.get_image_features(**inputs, return_dict=True).pooler_output)
