"""Which split a picture belongs to, decided before anything is asked about it.

All questions and pairs of a picture follow it, so no picture stands on both sides. Held-out leaves go to the test
split whole. A picture's place depends on the seed and its own leaf's pictures only.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Literal

from spavl.config import DatasetConfig
from spavl.errors import UserError
from spavl.records import ImageRecord

Split = Literal["train", "validation", "test"]


def assign_splits(
    images: Sequence[ImageRecord], config: DatasetConfig, held_out: Sequence[str], seed: int
) -> dict[str, Split]:
    """Returns image id -> split, stratified by leaf.

    Within a leaf the pictures are ordered by a seeded hash. The shares are filled over the leaves in turn, so they
    hold for the whole set even where a leaf has one or two pictures.

    Args:
        images: All pictures.
        config: The shares.
        held_out: Leaf paths whose pictures all go to the test split.
        seed: The run's seed.

    Raises:
        UserError: No picture is left for training or for the test.
    """
    splits: dict[str, Split] = {image.id: "test" for image in images if image.leaf in held_out}
    rest = [image for image in images if image.leaf not in held_out]
    ordered = [image for rank in _by_rank(rest, seed) for image in rank]
    test = math.ceil(len(ordered) * config.test_fraction)
    validation = math.floor(len(ordered) * config.validation_fraction)
    for place, image in enumerate(ordered):
        splits[image.id] = "test" if place < test else "validation" if place < test + validation else "train"
    counts = {split: list(splits.values()).count(split) for split in ("train", "test")}
    if not all(counts.values()):
        raise UserError(
            f"dataset.test_fraction {config.test_fraction}: of {len(images)} pictures {counts['train']} are left for "
            f"training and {counts['test']} for the test; both need at least one. Collect more pictures "
            "(images.per_leaf) or hold out fewer leaves."
        )
    return splits


def _by_rank(images: Sequence[ImageRecord], seed: int) -> list[list[ImageRecord]]:
    """Groups the pictures by their place within their leaf: first pictures of all leaves, then second ones."""

    def place(image: ImageRecord) -> str:
        return hashlib.sha256(f"{seed}/{image.id}".encode()).hexdigest()

    leaves: dict[str, list[ImageRecord]] = {}
    for image in sorted(images, key=place):
        leaves.setdefault(image.leaf, []).append(image)
    deepest = max((len(members) for members in leaves.values()), default=0)
    return [
        sorted((members[rank] for members in leaves.values() if rank < len(members)), key=place)
        for rank in range(deepest)
    ]


def of_split(splits: Mapping[str, Split], split: Split) -> set[str]:
    """Returns the ids of the pictures of one split."""
    return {image for image, place in splits.items() if place == split}
