"""Writing files so that a crash or a full disk leaves either the old file or the new one, never half of one."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from spavl.errors import RunError

UNITS = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_REFUSED = frozenset(
    {errno.EACCES, errno.EROFS, errno.EPERM, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG}
)


@contextmanager
def disk_errors_named(path: Path) -> Iterator[None]:
    """Turns a full disk or a refused write under `path` into one clear `RunError`."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise RunError(
                f"No space left on the disk while writing {path} ({error.strerror}). What was finished is kept: "
                "free some space and run the same command again."
            ) from error
        if error.errno in _REFUSED:
            raise RunError(f"Cannot write {path}: {error.strerror}. Choose a folder you may write to.") from error
        raise


def make_folder(path: Path) -> None:
    """Makes a folder and those above it; one that is there stays as it is.

    Raises:
        RunError: The disk is full or the folder may not be made.
    """
    with disk_errors_named(path):
        _make_folder(path)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Gives a folder beside `path` to fill, flushes it to the disk and renames it to `path`; an error leaves nothing.

    A folder that stood at `path` is replaced: it is moved aside first, and where a crash came before the new one took
    its place, the next call puts it back.

    Raises:
        RunError: The disk is full or the folder may not be written.
    """
    making, before = path.with_name(f".{path.name}.making"), path.with_name(f".{path.name}.before")
    with disk_errors_named(path):
        if before.exists() and not path.exists():
            before.rename(path)
        for left in (making, before):
            if left.exists():
                shutil.rmtree(left)
        _make_folder(making)
        try:
            yield making
            for inside in (*making.rglob("*"), making):
                _flush(inside)
            if path.exists():
                path.rename(before)
            making.rename(path)
            _flush(path.parent)
            shutil.rmtree(before, ignore_errors=True)
        finally:
            shutil.rmtree(making, ignore_errors=True)  # half a model would keep a full disk full


def write_atomically(path: Path, content: bytes | Iterable[bytes]) -> None:
    """Writes `content`, whole or in pieces, beside `path`, flushes it to the disk, and renames it into place.

    Raises:
        RunError: The disk is full or the folder may not be written.
    """
    with disk_errors_named(path):
        _make_folder(path.parent)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.writelines([content] if isinstance(content, bytes) else content)
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def append_whole(path: Path, content: bytes) -> int:
    """Adds `content` to the end of a file; where the disk fills up, the file is cut back to what it was.

    Returns where it begins in the file.

    It does not flush to the disk: what is added outlives the process, and after a power cut the end may be torn.

    Raises:
        RunError: The disk is full or the folder may not be written.
    """
    with disk_errors_named(path):
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            before = os.lseek(file, 0, os.SEEK_END)
            rest = memoryview(content)
            try:
                while rest:
                    rest = rest[os.write(file, rest) :]
            except OSError:
                os.ftruncate(file, before)
                raise
        finally:
            os.close(file)
    return before


def _flush(path: Path) -> None:
    """Waits until a file or a folder's list of names is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError as error:  # the folders above are made too, so this is /proc's way of refusing
        raise PermissionError(errno.EACCES, error.strerror) from error


def size_text(count: float) -> str:
    """Writes bytes in the largest unit of which there is a tenth: `0.28 GiB`."""
    unit, size = next(((name, size) for name, size in UNITS if count >= size / 10), UNITS[-1])
    return f"{count / size:.2f} {unit}"
