"""Pieces that lie in a file without a name."""

import os
import resource
import signal
from pathlib import Path

import pytest

from spavl.errors import RunError
from spavl.store import Scratch, scratch


def test_pieces_are_read_back_whether_they_are_on_the_disk_yet_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "_WRITTEN_AT_ONCE", 100)
    kept, pieces = Scratch(tmp_path), [b"x" * (number % 37) for number in range(60)]
    for number, piece in enumerate(pieces):
        assert kept.add(piece) == number
        assert kept[number] == piece
    assert len(kept) == 60
    assert [kept[number] for number in range(60)] == pieces
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_named() -> None:
    """A limit on the size of files stands in for a small disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handled = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        kept = Scratch()
        kept.add(os.urandom(2000))
        with pytest.raises(RunError, match=r"^No space left on the disk while writing"):
            kept[0]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handled)
