"""The images station: collects pictures for each leaf of the taxonomy by keyword."""

from spavl.images.assign import Encode
from spavl.images.collect import collect

__all__ = ["Encode", "collect"]
