"""The mark of a process that works with a store of calls, by which another one notices that it is not alone."""

import fcntl
import sys
from collections import Counter
from pathlib import Path
from typing import TextIO

_OURS: Counter[Path] = Counter()
"""Marks of this process, which need no other mark's attention."""


class StoreMark:
    """Marks a store of calls while a process works with it, and says so where another process does already.

    It is a lock that nobody waits for: two processes may share a store, but what both ask at the same time is paid
    twice. It ends with the process, however that ends.

    Args:
        store: The store's file; the mark lies beside it, and is empty.
    """

    def __init__(self, store: Path) -> None:
        self._path = store.with_name(f"{store.name}.lock").absolute()
        self._file: TextIO | None = None
        try:
            self._file = self._path.open("a")
            _OURS[self._path] += 1
            self._take(store, self._file)
        except OSError:  # a folder or file system without locks: nothing can be told
            self.close()

    def close(self) -> None:
        """Takes the mark away."""
        if self._file is not None:
            self._file.close()
            self._file = None
            _OURS[self._path] -= 1

    def _take(self, store: Path, file: TextIO) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if _OURS[self._path] == 1:
                print(
                    f"calls: another process is at work with {store}. What both ask at the same time is paid twice; "
                    "wait until it has ended, or give this run a store of its own with calls=FILE.",
                    file=sys.stderr,
                )
        fcntl.flock(file, fcntl.LOCK_SH)
