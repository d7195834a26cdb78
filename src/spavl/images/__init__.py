"""The images station: collects pictures for each leaf of the taxonomy by keyword."""

from spavl.images.assign import Encode
from spavl.images.candidates import Candidate
from spavl.images.collect import collect
from spavl.images.sources import find_candidates

__all__ = ["Candidate", "Encode", "collect", "find_candidates"]
