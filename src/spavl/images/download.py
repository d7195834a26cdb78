"""Downloads addresses side by side and politely; every one ends as a file or as a failure with its reason.

Politely: few downloads from one host at a time, `Retry-After` waited for, a host that does not answer left alone.
What one try does, and what it refuses, stands in `visit`.
"""

import asyncio
from collections.abc import Iterable
from pathlib import Path

from yarl import URL

from spavl.errors import RunError
from spavl.execution import backoff_s
from spavl.image_config import TableSource
from spavl.images.addresses import read_address
from spavl.images.downloads import DownloadFolder
from spavl.images.visit import SILENCE, NoPictureError, Visitor
from spavl.records import Failure

FIRST_WAIT_S = 1.0
LONGEST_RETRY_AFTER_S = 60.0
"""A host that asks for a longer wait than this is not waited for."""
HOST_DEAD_AFTER = 3
"""Addresses in a row of one host that get no answer, each after all its tries."""
OFFLINE_AFTER = 20
"""Hosts of which none answers, with no answer from another in between: then our connection may be down."""
RULES = frozenset({"private_address", "refused_by_robots", "opted_out", "too_large"})
"""Reasons by which a picture is left out on purpose."""
MAY_PASS = SILENCE | {"server_error"}
"""Reasons that may be gone when the run is resumed."""


class _Host:
    """What is known of one host."""

    def __init__(self, per_host: int) -> None:
        self.slots = asyncio.Semaphore(per_host)
        self.silent_in_a_row = 0


class Downloader:
    """Downloads addresses into a folder; made and closed inside one event loop.

    Args:
        config: How many, how long, and whom to ask.
        folder: Where the files go; what is there already is not downloaded.
        max_bytes: Largest file.
        first_wait_s: Seconds before the second try; each further wait is twice as long.
    """

    def __init__(
        self, config: TableSource, folder: DownloadFolder, max_bytes: int, first_wait_s: float = FIRST_WAIT_S
    ) -> None:
        self._config, self._folder, self._first_wait_s = config, folder, first_wait_s
        self._visitor = Visitor(config, max_bytes)
        self._slots = asyncio.Semaphore(config.concurrency)
        self._tasks: dict[str, asyncio.Task[Path | Failure]] = {}
        self._hosts: dict[str, _Host] = {}
        self._silent_hosts: set[str] = set()
        self._answered: URL | None = None

    def expect(self, urls: Iterable[str]) -> None:
        """Begins to download these addresses, as soon as there is room."""
        for url in urls:
            if url not in self._tasks:
                self._tasks[url] = asyncio.create_task(self._outcome(url))

    async def fetch(self, url: str) -> Path | Failure:
        """Returns an address's file, or why there is none.

        Raises:
            RunError: The disk is full, or no host answers any more.
        """
        self.expect([url])
        outcome = await self._tasks[url]
        if not (isinstance(outcome, Failure) and outcome.transient):  # the folder knows
            self._tasks.pop(url, None)
        return outcome

    async def close(self) -> None:
        """Stops what is under way and closes the connections."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        await self._visitor.close()

    async def _outcome(self, text: str) -> Path | Failure:
        known = self._folder.known(text)
        if known is not None:
            return known
        try:
            return await self._download(text)
        except NoPictureError as error:
            failure = Failure(
                reason=error.reason,
                message=str(error),
                dropped=error.reason in RULES,
                transient=error.reason in MAY_PASS,
            )
        if not failure.transient:
            self._folder.refuse(text, failure)
        return failure

    async def _download(self, text: str) -> Path:
        try:
            url = read_address(text)
        except ValueError as error:
            raise NoPictureError("bad_address", f"no address to download from: {error}") from error
        host = self._hosts.setdefault(url.host or "", _Host(self._config.per_host))
        async with host.slots:
            try:
                await self._try_again_and_again(url, text, host)
            except NoPictureError as error:
                await self._listen(url, host, error.reason in SILENCE)
                raise
            await self._listen(url, host, silent=False)
        return self._folder.path(text)

    async def _try_again_and_again(self, url: URL, text: str, host: _Host) -> None:
        """Tries until there is a file; between tries it keeps the host's slot, and the host its peace."""
        tries = 0
        while True:
            if host.silent_in_a_row >= HOST_DEAD_AFTER:
                raise NoPictureError("unreachable", f"{url.host} gave no answer {HOST_DEAD_AFTER} times in a row")
            try:
                async with self._slots:
                    return await self._visitor.fetch(url, lambda: self._folder.receiving(text))
            except NoPictureError as error:
                tries += 1
                wait_s = backoff_s(tries, self._first_wait_s) if error.wait_s is None else error.wait_s
                if not error.again or tries > self._config.retries or wait_s > LONGEST_RETRY_AFTER_S:
                    raise
            await asyncio.sleep(wait_s)

    async def _listen(self, url: URL, host: _Host, silent: bool) -> None:
        """Notes whether a host answered.

        Raises:
            RunError: None of the last hosts did, nor does the one that did before.
        """
        if not silent:
            host.silent_in_a_row = 0
            self._silent_hosts.clear()
            self._answered = url
            return
        host.silent_in_a_row += 1
        self._silent_hosts.add(url.host or "")
        if len(self._silent_hosts) < OFFLINE_AFTER:
            return
        if self._answered is not None and await self._visitor.hears_from(self._answered):
            self._silent_hosts.clear()
        else:
            raise RunError(
                f"The last {OFFLINE_AFTER} hosts gave no answer; the last is {url.host}. Check the connection, and run "
                "the same command again: what was downloaded is kept, and those hosts are asked again."
            )
