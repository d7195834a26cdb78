"""One try at one address: from hop to hop, within the rules of its hosts and our limits, until there is a file.

http and https only, public addresses only, bytes, seconds and redirects bounded, and every hop checked anew. It keeps
no cookies, uses no proxy, takes no compressed reply, and decodes nothing: whether a file is a picture is found out by
whoever opens it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from http import HTTPStatus

import aiohttp
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from spavl import __version__
from spavl.execution import retry_after_s
from spavl.image_config import TableSource
from spavl.images.addresses import PrivateAddress, PublicResolver, read_address, refuse_private_literal
from spavl.images.robots import AGENT, MAX_ROBOTS_BYTES, Rules, opted_out, robots_address

CHUNK_BYTES = 65_536
REDIRECTS = frozenset({301, 302, 303, 307, 308})
GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
BUSY = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})
SILENCE = frozenset({"timed_out", "unreachable"})
"""Reasons that say that a host gave no answer at all."""
Receiving = Callable[[], AbstractAsyncContextManager[Callable[[bytes], None]]]
"""Opens the place where a file's bytes go; what it yields takes the next ones."""


class NoPictureError(Exception):
    """Why one try gave no file: `reason` is the failure's machine name, `again` says that another try may help."""

    def __init__(self, reason: str, message: str, again: bool = False, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.reason, self.again, self.wait_s = reason, again, wait_s


class Visitor:
    """Asks hosts for files; made and closed inside one event loop.

    Args:
        config: Whom to ask, how long, and whether hosts may opt out.
        max_bytes: Largest file.
    """

    def __init__(self, config: TableSource, max_bytes: int) -> None:
        self._config, self._max_bytes = config, max_bytes
        self._rules: dict[URL, asyncio.Task[Rules]] = {}
        resolver = ThreadedResolver() if config.allow_private_hosts else PublicResolver()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, resolver=resolver),
            headers={"User-Agent": _user_agent(config.contact), "Accept": "image/*", "Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(total=config.timeout_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )

    async def close(self) -> None:
        """Closes the connections."""
        for task in self._rules.values():
            task.cancel()
        await asyncio.gather(*self._rules.values(), return_exceptions=True)
        await self._session.close()

    async def fetch(self, url: URL, receiving: Receiving) -> None:
        """Gets one file.

        Raises:
            NoPictureError: There is none, or it may not be had.
            RunError: The disk is full.
        """
        for _ in range(self._config.max_redirects + 1):
            if self._config.honour_robots and not (await self._rules_for(url)).allow(url):
                raise NoPictureError("refused_by_robots", f"the robots.txt of {url.host} does not allow it")
            async with self._reply(url) as response:
                if response.status not in REDIRECTS:
                    self._check_head(response)
                    await self._receive(response, receiving)
                    return
                url = _next_hop(url, response)
        raise NoPictureError("too_many_redirects", f"more than {self._config.max_redirects} redirects")

    async def hears_from(self, url: URL) -> bool:
        """Says whether a host answers now, whatever it says."""
        try:
            async with self._reply(robots_address(url)):
                return True
        except NoPictureError as error:
            return error.reason not in SILENCE

    def _check_head(self, response: aiohttp.ClientResponse) -> None:
        if response.status in GONE:
            raise NoPictureError("dead_link", f"HTTP {response.status}")
        if response.status != HTTPStatus.OK:
            raise NoPictureError("refused_by_host", f"HTTP {response.status}")
        directive = opted_out(response.headers.getall("X-Robots-Tag", []))
        if self._config.honour_robots and directive is not None:
            raise NoPictureError("opted_out", f"the host says {directive} (X-Robots-Tag)")
        if (response.content_length or 0) > self._max_bytes:
            raise self._too_large()

    async def _receive(self, response: aiohttp.ClientResponse, receiving: Receiving) -> None:
        received = 0
        async with receiving() as take:
            async for chunk in response.content.iter_chunked(CHUNK_BYTES):
                received += len(chunk)
                if received > self._max_bytes:
                    raise self._too_large()
                take(chunk)

    def _too_large(self) -> NoPictureError:
        return NoPictureError("too_large", f"more than images.max_bytes ({self._max_bytes:,})")

    async def _rules_for(self, url: URL) -> Rules:
        """Returns a host's rules, asked for once; a host that cannot say them now is asked again by the next try."""
        address = robots_address(url)
        if address not in self._rules:
            self._rules[address] = asyncio.create_task(self._ask_rules(address))
        task = self._rules[address]
        try:
            return await asyncio.shield(task)
        except NoPictureError:
            if self._rules.get(address) is task:
                del self._rules[address]
            raise

    async def _ask_rules(self, url: URL) -> Rules:
        for _ in range(self._config.max_redirects + 1):
            async with self._reply(url) as response:
                if response.status not in REDIRECTS:
                    return Rules(response.status, await response.content.read(MAX_ROBOTS_BYTES))
                try:
                    url = _next_hop(url, response)
                except NoPictureError:
                    break
        return Rules(HTTPStatus.NOT_FOUND)

    @asynccontextmanager
    async def _reply(self, url: URL) -> AsyncIterator[aiohttp.ClientResponse]:
        """Yields the reply to one request; what goes wrong, also while it is read, has its reason."""
        with _troubles_named(url, self._config.timeout_s):
            if not self._config.allow_private_hosts:
                refuse_private_literal(url)
            async with self._session.get(url, allow_redirects=False) as response:
                if response.status in BUSY or response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                    wait_s = retry_after_s(response.headers.get("Retry-After", ""))
                    raise NoPictureError("server_error", f"HTTP {response.status}", again=True, wait_s=wait_s)
                yield response


@contextmanager
def _troubles_named(url: URL, timeout_s: float) -> Iterator[None]:
    """Turns what the connection raises into a reason."""
    try:
        yield
    except TimeoutError as error:
        raise NoPictureError("timed_out", f"{url.host} took more than {timeout_s:g} s", again=True) from error
    except PrivateAddress as error:
        raise NoPictureError("private_address", str(error)) from error
    except aiohttp.ClientConnectorDNSError as error:
        if isinstance(error.os_error, PrivateAddress):
            raise NoPictureError("private_address", str(error.os_error)) from error
        raise NoPictureError("unreachable", f"{url.host} has no address") from error
    except ValueError as error:  # aiohttp's InvalidURL is one, and so is what the resolver says of `a..b`
        raise NoPictureError("bad_address", f"{url.host} is no host") from error
    except aiohttp.ClientError as error:
        raise NoPictureError("unreachable", f"{url.host}: {type(error).__name__}", again=True) from error


def _next_hop(url: URL, response: aiohttp.ClientResponse) -> URL:
    try:
        return read_address(str(url.join(URL(response.headers["Location"]))))
    except (KeyError, ValueError) as error:
        raise NoPictureError("dead_link", f"HTTP {response.status} leads to no address of http or https") from error


def _user_agent(contact: str) -> str:
    return f"{AGENT}/{__version__}" + (f" (+{contact})" if contact else "")
