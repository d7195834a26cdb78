"""The images station: collects pictures for each leaf of the taxonomy by keyword, and has them described."""

from spavl.images.assign import Encode
from spavl.images.candidates import Candidate
from spavl.images.caption import (
    CaptionOutcomes,
    caption_outcomes,
    caption_prompt_digest,
    caption_request,
    write_captions,
)
from spavl.images.collect import DOWNLOADS, collect
from spavl.images.review import NEEDS_REVIEW, ExplicitGate
from spavl.images.sources import check_source, open_source

__all__ = [
    "DOWNLOADS",
    "NEEDS_REVIEW",
    "Candidate",
    "CaptionOutcomes",
    "Encode",
    "ExplicitGate",
    "caption_outcomes",
    "caption_prompt_digest",
    "caption_request",
    "check_source",
    "collect",
    "open_source",
    "write_captions",
]
