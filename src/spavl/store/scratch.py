"""Pieces of bytes in a file without a name, which goes with the process; in memory lie only their places."""

import os
import tempfile
from array import array
from pathlib import Path

from spavl.store.files import disk_errors_named

_WRITTEN_AT_ONCE = 1 << 18


class Scratch:
    """Pieces by number, 8 bytes of memory each.

    Args:
        folder: Where the file lies; None is the system's folder for such files.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or Path(tempfile.gettempdir())
        with disk_errors_named(self._folder):
            self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115  # it lives as long as we
        self._ends = array("Q", [0])
        self._waiting: list[bytes] = []
        self._written = 0

    def __len__(self) -> int:
        """Returns how many pieces there are."""
        return len(self._ends) - 1

    def add(self, piece: bytes) -> int:
        """Adds a piece, and returns its number.

        Raises:
            RunError: The disk is full.
        """
        self._waiting.append(piece)
        self._ends.append(self._ends[-1] + len(piece))
        if self._ends[-1] - self._written > _WRITTEN_AT_ONCE:
            self._write()
        return len(self) - 1

    def __getitem__(self, number: int) -> bytes:
        """Reads a piece.

        Raises:
            RunError: The disk is full.
        """
        begin, end = self._ends[number], self._ends[number + 1]
        if end > self._written:
            self._write()
        return os.pread(self._file.fileno(), end - begin, begin)

    def close(self) -> None:
        """Lets the file go; nothing can be read after that."""
        self._file.close()

    def _write(self) -> None:
        left = memoryview(b"".join(self._waiting))
        with disk_errors_named(self._folder):
            while left:
                left = left[os.pwrite(self._file.fileno(), left, self._ends[-1] - len(left)) :]
        self._waiting.clear()
        self._written = self._ends[-1]
