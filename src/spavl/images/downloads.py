"""The folder of a run's downloads: each address's file under the SHA-256 of the address, or why there is none.

What lies there is never downloaded again. Failures that may pass (a timeout, a host that is down) are not noted here.
"""

import asyncio
import hashlib
import json
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

from spavl.records import Failure
from spavl.store.files import append_whole, disk_errors_named, make_folder
from spavl.store.manifest import hash_file

DOWNLOADS = "downloads"
"""What the folder is called in a run's directory; it is of no use once the run is finished."""


class DownloadFolder:
    """Downloads that outlive the process.

    Args:
        path: The folder; made with the first download.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._refused = dict(_read_failures(self._failures_path))

    def known(self, url: str) -> Path | Failure | None:
        """Returns what became of an address earlier, or None."""
        target = self.path(url)
        return target if target.exists() else self._refused.get(url)

    def refuse(self, url: str, failure: Failure) -> None:
        """Notes that an address gives no picture.

        Raises:
            RunError: The disk is full.
        """
        make_folder(self._path)
        line = json.dumps({"url": url, "failure": failure.model_dump(mode="json")}, ensure_ascii=False)
        append_whole(self._failures_path, b"\n" + line.encode())  # first the line's end: the last may be torn
        self._refused[url] = failure

    @asynccontextmanager
    async def receiving(self, url: str) -> AsyncIterator[Callable[[bytes], None]]:
        """Yields a function that takes the next bytes; the file is there once the block ends without an error.

        Raises:
            RunError: The disk is full.
        """
        target = self.path(url)
        make_folder(target.parent)
        with disk_errors_named(target):
            handle, name = tempfile.mkstemp(dir=target.parent, prefix=".")
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:

                def take(content: bytes) -> None:
                    with disk_errors_named(target):
                        file.write(content)

                yield take
                await asyncio.to_thread(_keep, file, temporary, target)
        finally:
            temporary.unlink(missing_ok=True)

    def copies(self, digests: Collection[str]) -> list[Path]:
        """Returns the files with these SHA-256, from whatever address they came."""
        return [path for path in sorted(self._path.glob("??/*")) if path.is_file() and hash_file(path) in digests]

    @property
    def _failures_path(self) -> Path:
        return self._path / "failures.jsonl"

    def path(self, url: str) -> Path:
        """Returns where the file of an address lies, or will."""
        key = hashlib.sha256(url.encode()).hexdigest()
        return self._path / key[:2] / key


def _keep(file: BinaryIO, temporary: Path, target: Path) -> None:
    with disk_errors_named(target):
        file.flush()
        os.fsync(file.fileno())
        temporary.replace(target)


def _read_failures(path: Path) -> list[tuple[str, Failure]]:
    """Returns (address, failure) of each whole line; what a crash tore is asked for again."""
    if not path.exists():
        return []
    found = []
    for line in path.read_bytes().splitlines():
        try:
            body = json.loads(line)
            found.append((body["url"], Failure.model_validate(body["failure"])))
        except (ValueError, KeyError, TypeError):
            continue
    return found
