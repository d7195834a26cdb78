"""Reads the text in a picture (OCR): RapidOCR, whose package carries its weights, on ONNX Runtime."""

from typing import NamedTuple

import numpy as np
import onnxruntime  # noqa: F401  # RapidOCR imports it when it first reads, and does not ask for it
from PIL import Image
from rapidocr import RapidOCR


class PictureText(NamedTuple):
    """How much text is in a picture."""

    lines: int
    chars: int
    """Characters of the lines, spaces left out."""


class TextReader:
    """Chinese and Latin script, lines of which it is at least half sure."""

    def __init__(self) -> None:
        self._read = RapidOCR(params={"Global.log_level": "critical"})

    def read(self, picture: Image.Image) -> PictureText:
        """Returns how much text is in a picture (RGB)."""
        blue_first = np.ascontiguousarray(np.asarray(picture)[:, :, ::-1])  # (H, W, 3), as OpenCV has it
        lines = self._read(blue_first).txts or ()
        return PictureText(len(lines), sum(len("".join(line.split())) for line in lines))
