"""Clusters of pictures that look alike, directly or through others; a cluster is never divided between splits."""

from collections.abc import Sequence
from typing import NamedTuple

from spavl.store.near import near_pairs, packed


class Look(NamedTuple):
    """What has to be known of a picture to put it into a cluster, and a cluster into a split."""

    id: str
    leaf: str
    perceptual_hash: str


def picture_clusters(images: Sequence[Look], bits: int) -> list[list[Look]]:
    """Returns the clusters, most of them single pictures, in the order of their first pictures.

    Args:
        images: The pictures.
        bits: Two pictures look alike when their perceptual hashes differ in at most this many bits.
    """
    hashes = packed([image.perceptual_hash for image in images])
    pairs = near_pairs(hashes, hashes, bits)
    parents = list(range(len(images)))

    def root(place: int) -> int:
        while parents[place] != place:
            parents[place] = parents[parents[place]]
            place = parents[place]
        return place

    for one, other in zip(pairs.left.tolist(), pairs.right.tolist(), strict=True):
        low, high = sorted((root(one), root(other)))
        parents[high] = low
    clusters: dict[int, list[Look]] = {}
    for place, image in enumerate(images):
        clusters.setdefault(root(place), []).append(image)
    return list(clusters.values())
