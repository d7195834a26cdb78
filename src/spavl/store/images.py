"""Content-addressed pictures, decoded within limits.

A picture is checked before it is decoded (pixels, file size), re-encoded without its metadata, and stored under the
SHA-256 of the stored bytes, so the same picture lies on the disk once.
"""

import hashlib
import io
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from spavl.errors import SpavlError
from spavl.store.files import write_atomically


class UnreadableImage(SpavlError):
    """A picture that cannot be used; `reason` is the failure's machine name."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class DecodeLimits(NamedTuple):
    """How much a picture may ask of the decoder."""

    max_bytes: int = 50_000_000
    """Size of the file."""
    max_pixels: int = 40_000_000
    """Width times height, read from the header before anything is decoded."""
    min_side: int = 32
    """Pixels of the shorter side."""
    stored_side: int = 512
    """Pixels of the longer side of the stored copy."""


class StoredImage(NamedTuple):
    """A picture in the store."""

    sha256: str
    format: str
    width: int
    height: int
    perceptual_hash: str


class ImageStore:
    """Pictures of a run, each under the SHA-256 of its stored bytes."""

    def __init__(self, root: Path, limits: DecodeLimits | None = None) -> None:
        self.root = root
        self.limits = limits or DecodeLimits()

    def add(self, source: Path) -> StoredImage:
        """Decodes, scales down, strips metadata and stores one picture.

        Raises:
            UnreadableImage: The file is no picture, is damaged, or is outside the limits.
            RunError: The disk is full.
        """
        picture = _decode(source, self.limits)
        picture.thumbnail((self.limits.stored_side, self.limits.stored_side), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        picture.save(buffer, "PNG", compress_level=6)
        content = buffer.getvalue()
        digest = hashlib.sha256(content).hexdigest()
        target = self.path(digest, "png")
        if not target.exists():
            write_atomically(target, content)
        return StoredImage(digest, "png", picture.width, picture.height, perceptual_hash(picture))

    def path(self, sha256: str, suffix: str = "png") -> Path:
        """Returns where the picture with this digest lies."""
        return self.root / sha256[:2] / f"{sha256}.{suffix}"


def perceptual_hash(picture: Image.Image) -> str:
    """Returns a 64-bit difference hash: is each pixel of a 9 x 8 grey copy darker than its right neighbour?"""
    grey = np.asarray(picture.convert("L").resize((9, 8), Image.Resampling.BILINEAR), dtype=np.int16)
    bits = (grey[:, 1:] > grey[:, :-1]).ravel()
    return np.packbits(bits).tobytes().hex()


def _decode(source: Path, limits: DecodeLimits) -> Image.Image:
    """Opens a picture within the limits and returns it as RGB on white."""
    size = source.stat().st_size
    if size > limits.max_bytes:
        raise UnreadableImage("too_large", f"{source.name}: {size:,} bytes; at most {limits.max_bytes:,} are allowed.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(source) as opened:
                _check_size(source, opened, limits)
                opened.load()
                flat = Image.new("RGBA", opened.size, "white")
                flat.alpha_composite(opened.convert("RGBA"))
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise UnreadableImage("unreadable", f"{source.name}: not a readable picture ({error}).") from error
    return flat.convert("RGB")


def _check_size(source: Path, picture: Image.Image, limits: DecodeLimits) -> None:
    width, height = picture.size
    if width * height > limits.max_pixels:
        raise UnreadableImage(
            "too_large", f"{source.name}: {width} x {height} pixels; at most {limits.max_pixels:,} are allowed."
        )
    if min(width, height) < limits.min_side:
        raise UnreadableImage(
            "too_small", f"{source.name}: {width} x {height} pixels; each side needs at least {limits.min_side}."
        )
