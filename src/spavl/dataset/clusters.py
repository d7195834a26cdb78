"""Clusters of pictures that look alike, directly or through others; a cluster is never divided between splits."""

from collections.abc import Sequence

from spavl.records import ImageRecord
from spavl.store.near import near_pairs, packed


def picture_clusters(images: Sequence[ImageRecord], bits: int) -> list[list[ImageRecord]]:
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
    clusters: dict[int, list[ImageRecord]] = {}
    for place, image in enumerate(images):
        clusters.setdefault(root(place), []).append(image)
    return list(clusters.values())
