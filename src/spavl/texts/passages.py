"""Finds out whether a text holds any of many passages, in time that does not grow with how many there are."""

from collections.abc import Iterable

BEGINNING = 16
"""Characters by which a passage is looked up; a shorter one tells nothing and is left out."""


class Passages:
    """Passages to look for.

    Args:
        texts: The passages.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._by_beginning: dict[str, list[str]] = {}
        for text in sorted({text for text in texts if len(text) >= BEGINNING}):
            self._by_beginning.setdefault(text[:BEGINNING], []).append(text)

    def any_in(self, text: str) -> bool:
        """Says whether the text holds one of them."""
        known = self._by_beginning
        return bool(known) and any(
            text.startswith(tuple(known[beginning]), at)
            for at in range(len(text) - BEGINNING + 1)
            if (beginning := text[at : at + BEGINNING]) in known
        )
