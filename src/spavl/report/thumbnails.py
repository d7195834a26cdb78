"""Pictures of the run as small data URIs, so that the page needs no other file."""

import base64
import io
from pathlib import Path

from PIL import Image

LONGER_SIDE = 160
"""Pixels."""
QUALITY = 82


def thumbnail(path: Path) -> str | None:
    """Returns a stored picture as a JPEG data URI, or None where the file is gone."""
    if not path.exists():
        return None
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail((LONGER_SIDE, LONGER_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
