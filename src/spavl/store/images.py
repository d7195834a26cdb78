"""Content-addressed pictures, decoded within limits.

A picture is checked before it is decoded (kind of file, bytes, pixels), turned upright, scaled down, re-encoded
without its metadata, and stored under the SHA-256 of the stored bytes, so the same picture lies on the disk once.
It does not convert colours by an embedded profile, and of an animation it keeps the first frame.
"""

import hashlib
import io
import re
import struct
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from spavl.errors import SpavlError
from spavl.store.files import write_atomically

READABLE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
"""Others are refused unopened: some, such as EPS, run programs."""
_NOT_READ = re.compile(
    rb"(?P<TIFF>II[*+]\0|MM\0[*+])|.{4}ftyp(?:(?P<AVIF>avi[fs])|(?P<HEIC>he[iv][cmsx]|mif1|msf1))", re.DOTALL
)
"""How files of pictures begin that people have and that are not read."""

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what turns the picture upright."""

HASHED_SIDE = 32
"""Pixels of the grey square that a picture's perceptual hash is made from."""

_COSINES = np.cos(np.pi / HASHED_SIDE * np.outer(np.arange(1, 9), np.arange(HASHED_SIDE) + 0.5))
"""(8, 32): frequencies 1 to 8 of the discrete cosine transform; 0 would only tell how bright the picture is."""

_DAMAGE = (OSError, SyntaxError, ValueError, TypeError, IndexError, KeyError, EOFError, struct.error)
"""What Pillow's decoders raise for damaged files."""


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
    max_aspect: float | None = None
    """Longer side through the shorter one."""


class StoredImage(NamedTuple):
    """A picture in the store."""

    sha256: str
    format: str
    width: int
    height: int
    perceptual_hash: str


class ReadImage(NamedTuple):
    """A picture as it will be stored, and its bytes."""

    stored: StoredImage
    content: bytes


class ImageStore:
    """Pictures of a run, each under the SHA-256 of its stored bytes."""

    def __init__(self, root: Path, limits: DecodeLimits | None = None) -> None:
        self.root = root
        self.limits = limits or DecodeLimits()

    def read(self, source: Path | bytes) -> ReadImage:
        """Decodes, scales down and strips one picture of its metadata, and stores nothing.

        Args:
            source: A file, or what stands in one.

        Raises:
            UnreadableImage: The file is no picture, is damaged, or is outside the limits.
        """
        picture = _decode(source, self.limits)
        buffer = io.BytesIO()
        picture.save(buffer, "PNG", compress_level=1)  # against 6: a quarter of the time, a tenth more bytes
        content = buffer.getvalue()
        digest = hashlib.sha256(content).hexdigest()
        return ReadImage(StoredImage(digest, "png", *picture.size, perceptual_hash(picture)), content)

    def keep(self, read: ReadImage) -> StoredImage:
        """Stores a picture that was read.

        Raises:
            RunError: The disk is full.
        """
        target = self.path(read.stored.sha256, read.stored.format)
        if not target.exists():
            write_atomically(target, read.content)
        return read.stored

    def add(self, source: Path | bytes) -> StoredImage:
        """Reads and stores one picture.

        Raises:
            UnreadableImage: The file is no picture, is damaged, or is outside the limits.
            RunError: The disk is full.
        """
        return self.keep(self.read(source))

    def path(self, sha256: str, suffix: str = "png") -> Path:
        """Returns where the picture with this digest lies."""
        return self.root / sha256[:2] / f"{sha256}.{suffix}"


def decode(content: bytes, limits: DecodeLimits) -> Image.Image:
    """Returns a picture from its bytes: upright, as RGB on white, scaled down to `limits.stored_side`.

    Raises:
        UnreadableImage: The bytes are no picture, are damaged, or are outside the limits.
    """
    return _decode(content, limits)


def perceptual_hash(picture: Image.Image) -> str:
    """Returns a 64-bit hash that scaling and re-encoding hardly change: which low frequencies are above their median?

    Of 951 packaged pictures, most of them cut-outs on white, 11 pairs lie within 4 bits and all are look-alikes;
    a difference hash of the same length puts 232 pairs there, a bell and a fire among them.
    """
    grey = picture.convert("L").resize((HASHED_SIDE, HASHED_SIDE), Image.Resampling.BILINEAR)
    return f"{int(hash_greys(np.asarray(grey)[None])[0]):016x}"


def hash_greys(greys: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Returns the perceptual hashes (N,) of grey pictures (N, 32, 32)."""
    frequencies = np.round(_COSINES @ greys.astype(np.float64) @ _COSINES.T, 3)  # (N, 8, 8); a flat picture has none
    above = frequencies > np.median(frequencies, axis=(1, 2), keepdims=True)
    return np.packbits(above.reshape(len(greys), 64), axis=1).view(">u8")[:, 0].astype(np.uint64)


def _decode(source: Path | bytes, limits: DecodeLimits) -> Image.Image:
    """Opens a picture within the limits and returns it upright, as RGB on white, scaled down."""
    try:
        _check_file(source, limits)
        opening = io.BytesIO(source) if isinstance(source, bytes) else source
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(opening, formats=READABLE_FORMATS) as opened:
                _check_size(opened, limits)
                return _prepare(opened, limits.stored_side)
    except Image.DecompressionBombError as error:
        message = f"its header asks for far more than the {limits.max_pixels:,} pixels that are allowed"
        raise UnreadableImage("too_large", message) from error
    except _DAMAGE as error:
        if isinstance(error, UnidentifiedImageError) and (kind := _kind_not_read(source)):
            message = f"{kind} is not read; save it as one of {', '.join(READABLE_FORMATS)}"
            raise UnreadableImage("unsupported_format", message) from error
        raise UnreadableImage("unreadable", f"not a readable picture: {_cause(error)}") from error


def _kind_not_read(source: Path | bytes) -> str | None:
    """Returns what a file is that would be a picture to others."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            source = file.read(16)
    found = _NOT_READ.match(source)
    return found.lastgroup if found else None


def _prepare(opened: Image.Image, stored_side: int) -> Image.Image:
    opened.draft(None, (2 * stored_side, 2 * stored_side))  # a JPEG is decoded at a half, a quarter or an eighth
    opened.load()
    turn = _UPRIGHT.get(opened.getexif().get(ExifTags.Base.Orientation, 1))
    picture = _eight_bit(opened).convert("RGBA" if opened.has_transparency_data else "RGB")
    picture.thumbnail((stored_side, stored_side), Image.Resampling.LANCZOS)
    if picture.mode == "RGBA":
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    return picture if turn is None else picture.transpose(turn)


def _eight_bit(picture: Image.Image) -> Image.Image:
    """Scales 16-bit grey to 8 bits; Pillow's own conversion clips it, which turns most of a picture white."""
    if picture.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    return picture


def _check_file(source: Path | bytes, limits: DecodeLimits) -> None:
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    if isinstance(source, Path) and not source.is_file():
        raise ValueError("not a file")
    if size > limits.max_bytes:
        raise UnreadableImage("too_large", f"{size:,} bytes; at most {limits.max_bytes:,} are allowed")


def _check_size(picture: Image.Image, limits: DecodeLimits) -> None:
    width, height = picture.size
    if width * height > limits.max_pixels:
        raise UnreadableImage("too_large", f"{width} x {height} pixels; at most {limits.max_pixels:,} are allowed")
    if min(width, height) < limits.min_side:
        raise UnreadableImage("too_small", f"{width} x {height} pixels; each side needs at least {limits.min_side}")
    if limits.max_aspect is not None and max(width, height) > limits.max_aspect * min(width, height):
        raise UnreadableImage(
            "too_long", f"{width} x {height} pixels; a side may be {limits.max_aspect:g} times the other at most"
        )


def _cause(error: Exception) -> str:
    """Says in one line what is wrong, without the folder the file lies in, so that results do not depend on it."""
    if isinstance(error, UnidentifiedImageError):
        return f"none of {', '.join(READABLE_FORMATS)}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__
