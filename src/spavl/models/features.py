"""Projected pictures, kept while there is room: the tower runs once for a picture, not once for every request.

Pictures pass the tower one at a time, so a kept picture and one computed again are equal to the last bit.
"""

from collections import OrderedDict
from collections.abc import Callable

from torch import Tensor

CACHE_BYTES = 2 * 2**30
"""What a cache may hold: 100,000 pictures of the embedded model, 450 of LLaVA-1.5-7B; beyond it the oldest go."""

FAMILIES = ("llava",)
"""Model types that take projected pictures in place of pixels, known to give the same answers; others get pixels."""


class FeatureCache:
    """Picture -> its features, one tensor (P, H) for each image of the prompt.

    Args:
        max_bytes: What it may hold.
    """

    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._known: OrderedDict[str, list[Tensor]] = OrderedDict()

    def get(self, picture: str, compute: Callable[[], list[Tensor]]) -> list[Tensor]:
        """Returns the features of a picture, computed if they are not held."""
        if picture in self._known:
            self._known.move_to_end(picture)
            return self._known[picture]
        features = compute()
        self._known[picture] = features
        self._bytes += _bytes(features)
        while self._bytes > self._max_bytes and len(self._known) > 1:
            self._bytes -= _bytes(self._known.popitem(last=False)[1])
        return features


def _bytes(features: list[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in features)
