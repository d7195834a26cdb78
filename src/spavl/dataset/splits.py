"""Which split a picture belongs to, decided before anything is asked about it.

All questions and pairs of a picture follow it, and pictures that look alike stay together, so nothing stands on both
sides. Held-out leaves go to the test split whole, and with them what looks like one of their pictures.
"""

import hashlib
import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from spavl.config import DatasetConfig, SplitName
from spavl.dataset.clusters import Look, picture_clusters
from spavl.dataset.turns import Turn, in_turn
from spavl.errors import UserError
from spavl.records import ImageRecord
from spavl.store.files import write_atomically

Split = Literal["train", "validation", "test"]


class Splits(Mapping[str, Split]):
    """Image id -> split, and what the rows of the splits are bound by.

    Args:
        places: Image id -> split.
        max_rows: `train`, `validation`, `harm` or `help` -> most rows.
        seed: Decides which rows are left out where there are more.
        clusters: Sizes of the clusters of more than one picture, largest first.
    """

    def __init__(
        self,
        places: Mapping[str, Split],
        max_rows: Mapping[SplitName, int] | None = None,
        seed: int = 0,
        clusters: Sequence[int] = (),
    ) -> None:
        self._places = dict(places)
        self.max_rows = dict(max_rows or {})
        self.seed = seed
        self.clusters = tuple(clusters)

    def __getitem__(self, image_id: str) -> Split:
        """Returns the split of a picture."""
        return self._places[image_id]

    def __iter__(self) -> Iterator[str]:
        """Iterates over the ids of the pictures."""
        return iter(self._places)

    def __len__(self) -> int:
        """Returns the number of pictures."""
        return len(self._places)

    def of(self, split: Split) -> set[str]:
        """Returns the ids of the pictures of one split."""
        return {image for image, place in self._places.items() if place == split}


def note_splits(path: Path, splits: Splits, made_from: str) -> None:
    """Notes which split each picture belongs to, so that it stays there when other pictures are taken away.

    Args:
        path: Where it is noted.
        splits: What is noted.
        made_from: What else decided it; with anything else the note does not count.

    Raises:
        RunError: The disk is full.
    """
    body = {"made_from": made_from, "places": dict(splits), "clusters": splits.clusters}
    write_atomically(path, json.dumps(body).encode() + b"\n")


def noted_splits(
    path: Path, images: Iterable[ImageRecord], config: DatasetConfig, seed: int, made_from: str
) -> Splits | None:
    """Returns the splits of pictures as noted, or None where there are none, or something else decided them."""
    body = json.loads(path.read_bytes()) if path.exists() else {}
    if body.get("made_from") != made_from:
        return None
    return Splits({one.id: body["places"][one.id] for one in images}, config.max_rows, seed, body["clusters"])


class _Sizes(NamedTuple):
    """Pictures wanted."""

    test: int
    validation: int


def assign_splits(images: Iterable[ImageRecord], config: DatasetConfig, held_out: Sequence[str], seed: int) -> Splits:
    """Returns image id -> split, stratified by leaf.

    Clusters of pictures are put in an order in which leaves take turns, seeded and independent of the pictures' order.
    Each goes to the test split if it fits there, else to validation if it fits there, else to training; so the numbers
    hold for the whole set even where a leaf has one or two pictures, and are missed only where no cluster is small
    enough.

    Args:
        images: All pictures.
        config: The shares or numbers.
        held_out: Leaf paths whose pictures all go to the test split.
        seed: The run's seed.

    Raises:
        UserError: No picture is left for training or for the test, or there are fewer than the numbers ask for.
    """
    clusters = picture_clusters(_in_hashed_order(images, seed), config.cluster_bits)
    places: dict[str, Split] = {}
    rest = []
    for cluster in clusters:
        if any(image.leaf in held_out for image in cluster):
            places |= {image.id: "test" for image in cluster}
        else:
            rest.append(cluster)
    sizes = _sizes(sum(map(len, rest)), config)
    by_id = {cluster[0].id: cluster for cluster in rest}
    taken = {"test": 0, "validation": 0}
    for name in in_turn([Turn(cluster[0].id, cluster[0].leaf, cluster[0].id) for cluster in rest], seed):
        size = len(by_id[name])
        fits: list[Split] = [one for one in ("test", "validation") if taken[one] + size <= getattr(sizes, one)]
        split: Split = fits[0] if fits else "train"
        if fits:
            taken[split] += size
        places |= {image.id: split for image in by_id[name]}
    splits = Splits(places, config.max_rows, seed, sorted((len(one) for one in clusters if len(one) > 1), reverse=True))
    _check(splits, sizes, config)
    return splits


def _in_hashed_order(images: Iterable[ImageRecord], seed: int) -> list[Look]:
    """Puts the pictures into an order that decides, by the seed, which of a cluster's pictures stands for it."""
    looks = (Look(image.id, sys.intern(image.leaf), image.perceptual_hash) for image in images)
    return sorted(looks, key=lambda image: hashlib.sha256(f"{seed}/{image.id}".encode()).hexdigest())


def _sizes(pictures: int, config: DatasetConfig) -> _Sizes:
    test, validation = config.test_pictures, config.validation_pictures
    return _Sizes(
        math.ceil(pictures * config.test_fraction) if test is None else test,
        math.floor(pictures * config.validation_fraction) if validation is None else validation,
    )


def _check(splits: Splits, sizes: _Sizes, config: DatasetConfig) -> None:
    numbers = {"test": config.test_pictures, "validation": config.validation_pictures}
    for split, number in numbers.items():
        found = list(splits.values()).count("test" if split == "test" else "validation")
        if number is not None and found < number:
            raise UserError(
                f"dataset.{split}_pictures {number}: of {len(splits)} pictures {found} can go there{_alike(splits)}. "
                f"Collect more pictures (images.per_leaf), or lower dataset.{split}_pictures."
            )
    counts = {split: list(splits.values()).count(split) for split in ("train", "test")}
    if not all(counts.values()):
        wanted = (
            f"dataset.test_fraction {config.test_fraction}"
            if config.test_pictures is None
            else f"dataset.test_pictures {config.test_pictures}"
        )
        raise UserError(
            f"{wanted}: of {len(splits)} pictures {counts['train']} are left for training and {counts['test']} for the "
            f"test; both need at least one{_alike(splits)}. Collect more pictures (images.per_leaf) or hold out fewer "
            "leaves."
        )


def _alike(splits: Splits) -> str:
    if not splits.clusters:
        return ""
    return (
        f" ({sum(splits.clusters)} of them look like another one and stay together, {splits.clusters[0]} at most; "
        "dataset.cluster_bits says how alike)"
    )
