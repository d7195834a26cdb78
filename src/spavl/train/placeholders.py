"""Placeholders: the text that stands for a picture in a prompt, made by the processor once a picture and kept.

A placeholder depends on the picture and the processor, never on the question. Every kept one is one compressed file,
named by the SHA-256 of the picture's bytes in a folder named by the fingerprint of the processor. Several processes may
fill a folder at once: they write the same bytes, and files replace each other whole. A damaged file is as good as none.
"""

import gzip
import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

import transformers

from spavl.store.files import write_atomically


class Placeholders:
    """The placeholders of one processor.

    Args:
        processor: The model's processor.
        cache: Folder to keep them in; None keeps them in memory only.
    """

    def __init__(self, processor: Any, cache: Path | None = None) -> None:  # noqa: ANN401  # untyped library
        self._fingerprint = placeholder_fingerprint(processor)
        self._folder = None if cache is None else cache / self._fingerprint
        self._packed: dict[str, bytes] = {}

    def read(self, digest: str) -> str | None:
        """Returns the placeholder of the picture with this SHA-256; None if it is not kept, or its file is damaged."""
        path, packed = self._path(digest), self._packed.get(digest, b"")
        try:
            if path and not packed:
                packed = path.read_bytes()
            fingerprint, _, placeholder = gzip.decompress(packed).decode().partition("\n")
        except (OSError, EOFError, zlib.error):
            return None  # nothing is lost: it is made again
        if fingerprint != self._fingerprint:
            return None
        self._packed[digest] = packed
        return placeholder

    def write(self, digest: str, placeholder: str) -> None:
        """Keeps the placeholder of a picture.

        Raises:
            RunError: The disk is full or the folder may not be written.
        """
        packed = gzip.compress(f"{self._fingerprint}\n{placeholder}".encode(), mtime=0)
        self._packed[digest] = packed
        if path := self._path(digest):
            write_atomically(path, packed)

    def _path(self, digest: str) -> Path | None:
        return None if self._folder is None else self._folder / digest[:2] / f"{digest}.gz"


def placeholder_fingerprint(processor: Any) -> str:  # noqa: ANN401  # every model family has its own class
    """Returns the SHA-256 of everything but the picture that decides a placeholder."""
    marks = {name: value for name, value in vars(processor).items() if isinstance(value, str)}
    pixels = type(processor.image_processor).__name__  # its backend, which its settings do not name
    made_from = [transformers.__version__, pixels, processor.to_dict(), marks]
    return hashlib.sha256(json.dumps(made_from, sort_keys=True, default=str).encode()).hexdigest()
