"""The images station: collects pictures for each leaf of the taxonomy by keyword."""

from spavl.images.assign import Encode
from spavl.images.candidates import Candidate
from spavl.images.collect import DOWNLOADS, collect
from spavl.images.sources import check_source, open_source

__all__ = ["DOWNLOADS", "Candidate", "Encode", "check_source", "collect", "open_source"]
