"""Writing files so that a crash or a full disk leaves either the old file or the new one, never half of one."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spavl.errors import RunError


@contextmanager
def disk_errors_named(path: Path) -> Iterator[None]:
    """Turns a full disk or a refused write under `path` into one clear `RunError`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RunError(
                f"No space left on the disk while writing {path}. What was finished is kept: "
                "free some space and run the same command again."
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise RunError(f"Cannot write {path}: {error.strerror}. Choose a folder you may write to.") from error
        raise


def write_atomically(path: Path, content: bytes) -> None:
    """Writes `content` beside `path`, flushes it to the disk, and renames it into place.

    Raises:
        RunError: The disk is full or the folder may not be written.
    """
    with disk_errors_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
