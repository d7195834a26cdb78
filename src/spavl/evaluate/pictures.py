"""Pictures that stand in for others: for those that a benchmark lacks, and for a sample's own in an ablation."""

import hashlib
import io
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from PIL import Image

from spavl.evaluation_config import Ablation
from spavl.models.base import ImageInput
from spavl.records import Sample
from spavl.store import ImageStore

StandIn = Literal["", "blank", "noise"]
SIDE = 224
"""Pixels."""


def stand_in(kind: Literal["blank", "noise"], seed: int) -> bytes:
    """Returns a picture as PNG: white, or of noise that the seed decides."""
    pixels = np.full((SIDE, SIDE, 3), 255, dtype=np.uint8)
    if kind == "noise":
        pixels = np.random.default_rng(seed).integers(0, 256, pixels.shape, dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def derangement(pictures: Sequence[str], seed: int) -> dict[str, str]:
    """Returns picture -> another of them, each taken once, none by itself; empty where there are fewer than two."""
    order = sorted(set(pictures), key=lambda one: hashlib.sha256(f"{seed}/{one}".encode()).hexdigest())
    return dict(zip(order, [*order[1:], *order[:1]], strict=True)) if len(order) > 1 else {}


def ablated(
    ablation: Ablation, samples: Sequence[Sample], pictures: ImageStore, seed: int
) -> tuple[list[Sample], Callable[[Sample], ImageInput | None]]:
    """Returns the samples that an ablation can be made of, and what is shown with each.

    They are those with a picture of their own; where pictures are shuffled, their benchmark has to have two.
    """
    own = [sample for sample in samples if sample.own_picture]
    if ablation == "none":
        return own, lambda sample: None
    if ablation == "blank":
        digest = pictures.add(stand_in("blank", seed)).sha256
        return own, lambda sample: ImageInput(sha256=digest, path=pictures.path(digest))
    swapped: dict[tuple[str, str], str] = {}
    for name in dict.fromkeys(sample.benchmark for sample in own):
        listed = [sample.image_id for sample in own if sample.benchmark == name]
        swapped |= {(name, one): other for one, other in derangement(listed, seed).items()}

    def show(sample: Sample) -> ImageInput:
        other = swapped[sample.benchmark, sample.image_id]
        return ImageInput(sha256=other, path=pictures.path(other))

    return [sample for sample in own if (sample.benchmark, sample.image_id) in swapped], show
