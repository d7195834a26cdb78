"""Which addresses may be asked for pictures: public ones over HTTP, unless private ones are allowed.

A table of addresses comes from strangers. One that leads to this machine, to its network, or to a cloud's metadata
service is refused, whether it is written as a number, as a name that resolves to one, or reached by a redirect. The
address that was checked is the one that is connected to, so a name that changes its mind gains nothing.
"""

import ipaddress
import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""IPv4 addresses written as IPv6 ones (RFC 6052): the last four bytes decide."""
_TUNNELS = (ipaddress.IPv6Network("2002::/16"), ipaddress.IPv6Network("2001::/32"))
"""6to4 and Teredo: they lead to an IPv4 address that they hide."""


class PrivateAddress(OSError):
    """A host lies at an address that is not public."""


def is_public(text: str) -> bool:
    """Says whether an IP address is one of the public internet; what cannot be read is not."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        elif address in _NAT64:
            address = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        elif any(address in network for network in _TUNNELS):
            return False
    return address.is_global and not address.is_multicast


def read_address(text: str) -> URL:
    """Returns the address that a text says.

    Raises:
        ValueError: It is none, or not one of http or https with a host, or it holds a user's name or password.
    """
    url = URL(text.strip())
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("not an address of http or https")
    if url.user is not None or url.password is not None:
        raise ValueError("it holds a user's name or password")
    return url.with_fragment(None)


def refuse_private_literal(url: URL) -> None:
    """Checks a host that is written as a number, which no resolver sees.

    Raises:
        PrivateAddress: It is not public.
    """
    host = url.host or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return
    if not is_public(host):
        raise PrivateAddress(f"{host} is not a public address")


class PublicResolver(AbstractResolver):
    """Resolves names as the system does, and refuses those that lie at an address that is not public."""

    def __init__(self) -> None:
        self._system = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Returns the addresses of a name.

        Raises:
            PrivateAddress: One of them is not public.
        """
        found = await self._system.resolve(host, port, family)
        for one in found:
            if not is_public(one["host"]):
                raise PrivateAddress(f"{host} lies at {one['host']}, which is not a public address")
        return found

    async def close(self) -> None:
        """Lets go of the system's resolver."""
        await self._system.close()
