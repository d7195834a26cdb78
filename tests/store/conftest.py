"""What tests of the store share: a disk that is too small."""

import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest


class SmallDisk(NamedTuple):
    """A folder without room for much inside `with small_disk.short():`, and with room afterwards."""

    path: Path
    short: Callable[[], AbstractContextManager[None]]


@pytest.fixture(params=["64 KiB disk", "8 KiB files"])
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SmallDisk]:
    """Mounts a tiny tmpfs; and, everywhere, limits the size of a file (`File too large` instead of `No space left`)."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if request.param == "64 KiB disk" and _mount("-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)):
        yield SmallDisk(folder, lambda: _room_afterwards(folder))
        subprocess.run(["umount", str(folder)], check=True)
    else:
        yield SmallDisk(folder, _short_files)


@contextmanager
def _room_afterwards(folder: Path) -> Iterator[None]:
    yield
    assert _mount("-o", "remount,size=64m", str(folder))


@contextmanager
def _short_files() -> Iterator[None]:
    """The limit holds for the whole process, so it must be gone before pytest writes its own log to a file."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8 * 1024, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def _mount(*arguments: str) -> bool:
    try:
        return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
