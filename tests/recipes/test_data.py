"""Drawings of the embedded model's training: what may be left out, and what is an error."""

from pathlib import Path

import pytest
from PIL import Image
from recipes.mini_vlm.data import cut_out


def test_a_damaged_or_enormous_file_is_left_out_and_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A picture of 300 pixels is enormous where 100 are allowed: Pillow refuses more than twice its limit."""
    (damaged := tmp_path / "damaged.png").write_bytes(b"placeholder")
    Image.new("RGBA", (30, 10), "red").save(enormous := tmp_path / "enormous.png")
    assert cut_out(damaged) is None
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert cut_out(enormous) is None
    assert [line.split(":")[1].strip() for line in capsys.readouterr().out.splitlines()] == [
        "UnidentifiedImageError",
        "DecompressionBombError",
    ]


def test_an_icon_that_cannot_be_drawn_is_an_error() -> None:
    drawn = cut_out('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><rect width="4" height="8"/></svg>')
    assert drawn is not None
    assert drawn.size == (112, 224)
    with pytest.raises(SyntaxError, match="no element found"):
        cut_out("<svg>")
