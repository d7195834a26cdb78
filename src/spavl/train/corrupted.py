"""Pictures that show too little to answer from: what mDPO sets against the true one (arXiv 2406.11839, section 3.2)."""

import io
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from spavl.store.files import write_atomically
from spavl.train.render import Row, open_picture

MARK = "#corrupted"
"""Behind an image id: the same picture, corrupted."""
SHARES = (0.01, 0.2)
"""Least and greatest share of the picture's area that is left to see."""


class Shown:
    """Image id -> file, for true pictures and for the corrupted ones, which are written when first asked for.

    Args:
        picture: Image id -> file of the true pictures.
        folder: Gets the corrupted ones.
        seed: Decides which part of a picture is left.
    """

    def __init__(self, picture: Callable[[str], Path], folder: Path, seed: int) -> None:
        self._picture, self._folder, self._seed = picture, folder, seed

    def __call__(self, image_id: str) -> Path:
        """Returns the file.

        Raises:
            UserError: The true picture is missing or is not a picture.
            RunError: The disk is full.
        """
        if not image_id.endswith(MARK):
            return self._picture(image_id)
        target = self._folder / f"{image_id.removesuffix(MARK)}.png"
        if not target.exists():
            write_corrupted(self._picture(image_id.removesuffix(MARK)), target, f"{self._seed}/{image_id}")
        return target


def corrupted_twins(rows: Sequence[Row]) -> list[Row]:
    """Returns each row's chosen answer alone, about the corrupted picture."""
    return [row._replace(id=row.id + MARK, image_id=row.image_id + MARK, answers=row.answers[:1]) for row in rows]


def write_corrupted(source: Path, target: Path, seed: str) -> None:
    """Writes a random part of a picture, drawn out to the picture's own size, so that it takes as many tokens.

    Args:
        source: The picture.
        target: The PNG file to write.
        seed: Decides the part.

    Raises:
        UserError: The source is missing or is not a picture.
        RunError: The disk is full.
    """
    picture = open_picture(source)
    rng = random.Random(seed)
    side = math.sqrt(rng.uniform(*SHARES))  # the share of each side whose square is the share of the area
    width, height = (max(1, round(side * whole)) for whole in picture.size)
    left, top = rng.randint(0, picture.width - width), rng.randint(0, picture.height - height)
    part = picture.crop((left, top, left + width, top + height)).resize(picture.size, Image.Resampling.BICUBIC)
    encoded = io.BytesIO()
    part.save(encoded, "PNG")
    write_atomically(target, encoded.getvalue())
