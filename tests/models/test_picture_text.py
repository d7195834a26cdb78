"""The text reader on drawn text; it needs the `ocr` extra."""

import pytest
from PIL import Image, ImageDraw, ImageFont

pytest.importorskip("rapidocr", reason="needs the extra `ocr`")
pytest.importorskip("onnxruntime", reason="needs the extra `ocr`")

from spavl.models import open_text_reader
from spavl.models.picture_text import PictureText


def test_lines_and_letters_are_counted_and_a_picture_without_text_has_none() -> None:
    """STOP HERE is 8 letters, KEEP OUT 7; the space does not count."""
    picture = Image.new("RGB", (400, 200), "white")
    drawing, font = ImageDraw.Draw(picture), ImageFont.load_default(40)
    drawing.text((40, 30), "STOP HERE", fill="black", font=font)
    drawing.text((40, 110), "KEEP OUT", fill="black", font=font)
    reader = open_text_reader()
    assert reader.read(picture) == PictureText(lines=2, chars=15)
    assert reader.read(Image.new("RGB", (200, 200), "white")) == PictureText(lines=0, chars=0)
