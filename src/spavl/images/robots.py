"""What hosts say about being read by programs: `robots.txt` (RFC 9309) and the `X-Robots-Tag` of a reply.

The tags that opt out are those img2dataset honours: noai, noimageai, noindex, noimageindex. A `robots.txt` that is
not there (4xx) allows everything, as the RFC says; from a host that cannot give it at the moment nothing is asked, see
`visit`. The standard library reads the rules: of those that match the first counts, not the longest, and `*` inside a
path is no pattern. `Crawl-delay` is not read: downloads from one host are bounded by `per_host` instead.
"""

from collections.abc import Iterable
from urllib.robotparser import RobotFileParser

from yarl import URL

AGENT = "spavl"
"""The name that a `robots.txt` calls us by."""
MAX_ROBOTS_BYTES = 512_000
"""What stands behind this in a `robots.txt` is not read; the RFC asks for 500 kibibytes at least."""
OPT_OUT = frozenset({"noai", "noimageai", "noindex", "noimageindex"})
_WITH_VALUE = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})
"""Directives that are written with a colon and are no program's name."""


class Rules:
    """One host's `robots.txt`.

    Args:
        status: HTTP status of the reply; anything but success says that there are no rules.
        content: Its body.
    """

    def __init__(self, status: int, content: bytes = b"") -> None:
        self._parser: RobotFileParser | None = None
        if 200 <= status < 300:
            self._parser = RobotFileParser()
            try:
                self._parser.parse(content[:MAX_ROBOTS_BYTES].decode("utf-8-sig", "replace").splitlines())
            except ValueError:  # the parser takes a rule such as `//[` for a broken address
                self._parser.disallow_all = True  # type: ignore[attr-defined]  # typeshed lacks the name

    def allow(self, url: URL) -> bool:
        """Says whether the host lets us read this address."""
        return self._parser is None or self._parser.can_fetch(AGENT, str(url))


def robots_address(url: URL) -> URL:
    """Returns where the rules for an address stand."""
    return url.origin() / "robots.txt"


def opted_out(headers: Iterable[str]) -> str | None:
    """Returns the directive by which a reply's `X-Robots-Tag` headers opt out, or None.

    A header speaks to every program, or behind `name:` to the one of that name.
    """
    for header in headers:
        agent = AGENT
        for part in header.lower().split(","):
            name, colon, rest = (word.strip() for word in part.partition(":"))
            if colon and name not in _WITH_VALUE:
                agent, name = name, rest
            if agent == AGENT and name in OPT_OUT:
                return name
    return None
