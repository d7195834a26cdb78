"""What a run keeps on disk: stage directories with manifests, content-addressed images, and the way back from an id."""

from spavl.store.images import DecodeLimits, ImageStore, UnreadableImage, perceptual_hash
from spavl.store.manifest import Counts, Manifest, Usage
from spavl.store.run import RunDirectory
from spavl.store.stage import Outcome, StageDirectory

__all__ = [
    "Counts",
    "DecodeLimits",
    "ImageStore",
    "Manifest",
    "Outcome",
    "RunDirectory",
    "StageDirectory",
    "UnreadableImage",
    "Usage",
    "perceptual_hash",
]
