"""Looks at a picture with the models that the configuration names: does its caption fit, and how much text is in it?

What is looked at is the copy that will be stored. Whether it is explicit, `images/review.py` asks.
"""

import io
from typing import NamedTuple

from PIL import Image

from spavl.image_config import ImagesConfig
from spavl.models import open_caption_scorer, open_text_reader
from spavl.records import Failure

DECIMALS = 5
"""Figures are rounded, so that a processor's last bits do not stand in a record."""


class Findings(NamedTuple):
    """What was found; None where it was not looked for."""

    caption_similarity: float | None = None
    text_count: int | None = None
    text_chars: int | None = None


class Examiner:
    """The models, opened; without any it finds nothing and leaves nothing out.

    Args:
        config: Which models, and their limits.

    Raises:
        UserError: A model cannot be opened.
    """

    def __init__(self, config: ImagesConfig) -> None:
        self._match, self._text = config.caption_match, config.text
        self._scorer = open_caption_scorer(config.caption_match) if config.caption_match is not None else None
        self._reader = open_text_reader() if config.text is not None else None

    def examine(self, content: bytes, caption: str) -> Findings | Failure:
        """Returns what is found in a picture, or why it is left out.

        Args:
            content: The picture's file as it will be stored.
            caption: Its source's caption.
        """
        picture = opened_picture(content)
        found = Findings()
        if self._scorer is not None and self._match is not None:
            similarity = round(self._scorer.score(picture, caption), DECIMALS)
            found = found._replace(caption_similarity=similarity)
            least = self._match.min_similarity
            if least is not None and similarity < least:
                return _left_out(
                    "caption_mismatch", f"similarity of picture and caption {similarity:.3f}: less than {least}"
                )
        if self._reader is not None and self._text is not None:
            text = self._reader.read(picture)
            found = found._replace(text_count=text.lines, text_chars=text.chars)
            most = self._text.max_chars
            if most is not None and text.chars > most:
                return _left_out("too_much_text", f"{text.chars} characters can be read: more than {most}")
        return found


def opened_picture(content: bytes) -> Image.Image:
    """Returns a stored picture, RGB; it is decoded when a model looks at it."""
    return Image.open(io.BytesIO(content), formats=["PNG"])


def _left_out(reason: str, message: str) -> Failure:
    return Failure(reason=reason, message=message, dropped=True)
