"""Pictures with detail, drawn from a seed, and the edits that make a copy of one."""

import io
import random

import numpy as np
from PIL import Image, ImageOps


def scene(seed: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """Returns a picture of soft colours; another seed is another picture."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    return coarse.resize(size, Image.Resampling.BICUBIC)


def encoded(picture: Image.Image, kind: str = "PNG", quality: int = 75) -> bytes:
    """Returns the picture's bytes."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **({"quality": quality} if kind == "JPEG" else {}))
    return buffer.getvalue()


def cropped(picture: Image.Image, seed: int) -> Image.Image:
    """Returns the picture without a tenth of its width and of its height, cut off where the seed says."""
    rng, (width, height) = random.Random(seed), picture.size
    left, top = rng.uniform(0, 0.1) * width, rng.uniform(0, 0.1) * height
    return picture.crop((round(left), round(top), round(left + 0.9 * width), round(top + 0.9 * height)))


def edited(picture: Image.Image, edit: str, seed: int = 0) -> bytes:
    """Returns a copy's bytes: `resized`, `recompressed`, `mirrored`, `cropped` or `cropped_mirrored`."""
    width, height = picture.size
    if edit == "resized":
        return encoded(picture.resize((width // 2, height // 2), Image.Resampling.LANCZOS))
    if edit == "recompressed":
        return encoded(picture, "JPEG", 30)
    if edit == "mirrored":
        return encoded(ImageOps.mirror(picture))
    cut = cropped(picture, seed)
    return encoded(cut) if edit == "cropped" else encoded(ImageOps.mirror(cut), "JPEG", 50)
