"""What a source offers: captioned pictures that lie on this machine, listed and not yet opened."""

import re
from pathlib import Path
from typing import NamedTuple

_SEPARATORS = re.compile(r"[\s_.,;+-]+")


class Candidate(NamedTuple):
    """A picture that may be collected."""

    path: Path
    caption: str
    licence: str
    source: str
    """Name of the collection."""
    name: str
    """File name inside that collection."""
    synonyms: tuple[str, ...] = ()
    """Other names of what the picture shows, where the collection knows some."""

    @property
    def item(self) -> str:
        """The station's item id: the same wherever the collection lies."""
        return f"{self.source}/{self.name}"

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that counts as right, the caption first."""
        return (self.caption, *self.synonyms)


def printable(text: str) -> str:
    """Returns the text with what is no valid Unicode, as in some file names, written as an escape."""
    return text.encode("utf-8", "backslashreplace").decode()


def clean(text: str) -> str:
    """Returns the text printable and on one line."""
    return " ".join(printable(text).split())


def words_of(name: str) -> str:
    """Returns a file name's words, for a picture that has no caption: `red-apple_01.png` gives `red apple`."""
    stem = Path(name).stem
    words = [word for word in _SEPARATORS.split(stem) if any(letter.isalpha() for letter in word)]
    return " ".join(words) or stem
