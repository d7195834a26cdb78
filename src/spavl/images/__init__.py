"""The images station: collects pictures for each leaf of the taxonomy by keyword."""

from spavl.images.assign import Encode
from spavl.images.candidates import Candidate
from spavl.images.collect import collect
from spavl.images.downloads import DOWNLOADS, DownloadFolder
from spavl.images.removal import add_to_list, is_entry, own_list, read_removal_list
from spavl.images.sources import check_source, open_source

__all__ = [
    "DOWNLOADS",
    "Candidate",
    "DownloadFolder",
    "Encode",
    "add_to_list",
    "check_source",
    "collect",
    "is_entry",
    "open_source",
    "own_list",
    "read_removal_list",
]
