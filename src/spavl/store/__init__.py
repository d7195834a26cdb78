"""What a run keeps on disk: stage directories with manifests, content-addressed images, and the way back from an id."""

from spavl.store.images import DecodeLimits, ImageStore, UnreadableImage, perceptual_hash
from spavl.store.manifest import Counts, Manifest, Usage
from spavl.store.outcome import Body, Outcome
from spavl.store.places import Places
from spavl.store.run import RunDirectory
from spavl.store.scratch import Scratch
from spavl.store.shelf import Shelf
from spavl.store.stage import StageDirectory

__all__ = [
    "Body",
    "Counts",
    "DecodeLimits",
    "ImageStore",
    "Manifest",
    "Outcome",
    "Places",
    "RunDirectory",
    "Scratch",
    "Shelf",
    "StageDirectory",
    "UnreadableImage",
    "Usage",
    "perceptual_hash",
]
