"""What a source offers: captioned pictures, listed and not yet opened."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Protocol

from spavl.records import Failure, Scalar
from spavl.texts.visible import escaped, visible

_SEPARATORS = re.compile(r"[\s_.,;+-]+")


class Candidate(NamedTuple):
    """A picture that may be collected."""

    path: Path
    """The file it lies in: its own, a shard, or the table that has its address."""
    caption: str
    licence: str | None
    source: str
    """Name of the collection."""
    name: str
    """File name or address inside that collection."""
    synonyms: tuple[str, ...] = ()
    """Other names of what the picture shows, where the collection knows some."""
    url: str | None = None
    similarity: float | None = None
    """How alike picture and caption are, as the collection says."""
    columns: Mapping[str, Scalar] = MappingProxyType({})
    """What else the collection says."""
    refused: Failure | None = None
    """Why it is never opened, where listing it shows that already."""
    at: tuple[int, int] = (0, 0)
    """Where in that file, as its source counts."""

    @property
    def item(self) -> str:
        """The station's item id: the same wherever the collection lies."""
        return f"{self.source}/{self.name}"

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that counts as right, the caption first."""
        return (self.caption, *self.synonyms)


class Source(Protocol):
    """Where candidates come from, opened: it gives their content when it is asked for, and keeps none of them."""

    def listed(self) -> Iterator[Candidate]:
        """Yields every picture it offers, in a fixed order.

        Raises:
            UserError: It offers none, or something is wrong with it.
        """
        ...

    def expect(self, candidates: Iterable[Candidate]) -> None:
        """Hears which candidates will be asked for soon, so that slow ones can be fetched side by side."""
        ...

    async def content(self, candidate: Candidate) -> Path | bytes | Failure:
        """Returns a candidate's file, not yet decoded, or why there is none."""
        ...

    async def close(self) -> None:
        """Lets go of files and connections."""
        ...


def printable(text: str) -> str:
    """Returns the text with what no terminal should be sent, as in some file names, written as an escape."""
    return escaped(text.encode("utf-8", "backslashreplace").decode())


def clean(text: str) -> str:
    """Returns the text on one line, without what nobody sees in it."""
    return " ".join(printable(visible(text)).split())


def words_of(name: str) -> str:
    """Returns a file name's words, for a picture that has no caption: `red-apple_01.png` gives `red apple`."""
    last = name.rpartition("/")[2]  # a `Path` keeps every name it sees in the interpreter's own table
    stem = last.rpartition(".")[0] or last
    words = [word for word in _SEPARATORS.split(stem) if any(letter.isalpha() for letter in word)]
    return " ".join(words) or stem
