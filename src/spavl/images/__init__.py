"""The images station: collects pictures for each leaf of the taxonomy by keyword, and has them described."""

from spavl.images.affinity import Encode
from spavl.images.candidates import Candidate
from spavl.images.caption import (
    CaptionOutcomes,
    caption_prompt_digest,
    caption_request,
    load_caption_prompt,
    write_captions,
)
from spavl.images.collect import collect, say_collected
from spavl.images.downloads import DOWNLOADS, DownloadFolder
from spavl.images.removal import add_to_list, is_entry, own_list, read_picture_list
from spavl.images.review import NEEDS_REVIEW, ExplicitGate, WaitingList
from spavl.images.sources import check_source, open_source

__all__ = [
    "DOWNLOADS",
    "NEEDS_REVIEW",
    "Candidate",
    "CaptionOutcomes",
    "DownloadFolder",
    "Encode",
    "ExplicitGate",
    "WaitingList",
    "add_to_list",
    "caption_prompt_digest",
    "caption_request",
    "check_source",
    "collect",
    "is_entry",
    "load_caption_prompt",
    "open_source",
    "own_list",
    "read_picture_list",
    "say_collected",
    "write_captions",
]
