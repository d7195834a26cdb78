"""What hosts say about being read: robots.txt and X-Robots-Tag."""

import pytest
from yarl import URL

from spavl.images.robots import Rules, opted_out, robots_address


@pytest.mark.parametrize(
    ("status", "content", "allowed"),
    [
        (200, b"", True),
        (200, b"User-agent: *\nDisallow: /", False),
        (200, b"\xef\xbb\xbfUser-agent: *\nDisallow: /pictures", False),
        (200, b"User-agent: Spavl\nDisallow: /pictures/", False),
        (200, b"User-agent: other\nDisallow: /", True),
        (200, b"User-agent: *\nDisallow: /\n\nUser-agent: spavl\nAllow: /", True),
        (200, b"\xff\xfe these are no rules", True),
        (200, b"User-agent: *\nAllow: //[", False),
        (404, b"User-agent: *\nDisallow: /", True),
        (403, b"", True),
    ],
)
def test_rules_are_read_as_rfc_9309_says(status: int, content: bytes, allowed: bool) -> None:
    assert Rules(status, content).allow(URL("http://host/pictures/a.png")) is allowed


def test_rules_stand_at_the_root_of_the_host_and_port() -> None:
    assert str(robots_address(URL("https://host:8443/a/b.png?c=d"))) == "https://host:8443/robots.txt"


@pytest.mark.parametrize(
    ("header", "directive"),
    [
        ("noai", "noai"),
        ("nofollow, NoImageAI", "noimageai"),
        ("noindex", "noindex"),
        ("otherbot: noindex, noai", None),
        ("otherbot: noindex, spavl: noai", "noai"),
        ("spavl: noindex", "noindex"),
        ("unavailable_after: 25 Jun 2010 15:00:00 PST, noai", "noai"),
        ("max-image-preview: large, all", None),
        ("", None),
    ],
)
def test_a_tag_opts_out_for_everybody_or_for_the_program_it_names(header: str, directive: str | None) -> None:
    assert opted_out([header]) == directive
    assert opted_out(["all", header]) == directive
