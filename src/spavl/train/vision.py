"""Projected pictures, computed once and reused: the tower and the projector are frozen, so nothing changes in them.

Pictures pass one at a time, so that a cached picture and one computed again are equal to the last bit.
"""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from spavl.models.loading import Vlm
from spavl.train.render import open_picture

CACHE_BYTES = 2 * 2**30
"""What the cache may hold: 100,000 pictures of the embedded model, 450 of LLaVA-1.5-7B; beyond it the oldest go."""


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
        self._max_bytes = max_bytes
        self._bytes = 0
        self._known: OrderedDict[str, list[Tensor]] = OrderedDict()

    def __call__(self, image_id: str) -> list[Tensor]:
        """Returns one tensor (P, H) for each picture of the prompt, without gradient.

        Raises:
            UserError: The file is missing or is not a picture.
        """
        if image_id in self._known:
            self._known.move_to_end(image_id)
            return self._known[image_id]
        features = self._compute(image_id)
        self._known[image_id] = features
        self._bytes += _bytes(features)
        while self._bytes > self._max_bytes and len(self._known) > 1:
            self._bytes -= _bytes(self._known.popitem(last=False)[1])
        return features

    @torch.no_grad()
    def _compute(self, image_id: str) -> list[Tensor]:
        inputs = self._processor.image_processor(open_picture(self._picture(image_id)), return_tensors="pt")
        inputs = inputs.to(device=self._model.device, dtype=self._model.dtype)
        return list(self._model.get_image_features(**inputs, return_dict=True).pooler_output)


def _bytes(features: list[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in features)
