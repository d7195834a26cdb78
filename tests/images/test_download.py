"""Downloads from a real host on loopback: what is got, what is refused and why, how often hosts are asked."""

import asyncio
import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.images.picture_host import PictureHost, Reply

from spavl.errors import RunError
from spavl.image_config import TableSource
from spavl.images.download import Downloader
from spavl.images.downloads import DownloadFolder
from spavl.records import Failure

PICTURE = b"these bytes are never decoded here"


class Fetched:
    """What a downloader made of some paths of a host, in one process."""

    def __init__(self, folder: Path, pages: Mapping[str, Reply | list[Reply]], **settings: Any) -> None:
        self.host = PictureHost(pages)
        self.folder = folder
        self.settings = {"allow_private_hosts": True, "retries": 0, **settings}
        self.max_bytes = 1000

    def get(self, *paths: str) -> list[Path | Failure]:
        """Fetches paths, or whole addresses, side by side."""
        return asyncio.run(self._get(paths))

    def reasons(self, *paths: str) -> list[str]:
        return [one.reason if isinstance(one, Failure) else "file" for one in self.get(*paths)]

    async def _get(self, paths: tuple[str, ...]) -> list[Path | Failure]:
        config = TableSource(kind="table", path=Path("unread"), **self.settings)
        async with self.host.running() as address:
            downloader = Downloader(config, DownloadFolder(self.folder), self.max_bytes, first_wait_s=0.01)
            try:
                urls = [path if "//" in path else f"{address}{path}" for path in paths]
                return list(await asyncio.gather(*map(downloader.fetch, urls)))
            finally:
                await downloader.close()


def test_a_file_is_kept_as_it_was_sent(tmp_path: Path) -> None:
    fetched = Fetched(tmp_path, {"/a.png?size=2": Reply(PICTURE)}, contact="mailto:me@example.org")
    (path,) = fetched.get("/a.png?size=2#part")
    assert isinstance(path, Path) and path.read_bytes() == PICTURE
    assert fetched.host.headers[-1]["User-Agent"].startswith("spavl/")
    assert fetched.host.headers[-1]["User-Agent"].endswith(" (+mailto:me@example.org)")
    assert "Cookie" not in fetched.host.headers[-1]
    assert not list(tmp_path.rglob(".*")), "no temporary file is left"


@pytest.mark.parametrize(
    ("reply", "reason", "dropped", "transient"),
    [
        (Reply(status=404), "dead_link", False, False),
        (Reply(status=410), "dead_link", False, False),
        (Reply(status=403), "refused_by_host", False, False),
        (Reply(status=204), "refused_by_host", False, False),
        (Reply(status=304), "refused_by_host", False, False),
        (Reply(status=503), "server_error", False, True),
        (Reply(status=429), "server_error", False, True),
        (Reply(b"x" * 1001), "too_large", True, False),
        (Reply(PICTURE, after_s=5), "timed_out", False, True),
        (Reply(b"x" * 50, drip_s=0.1), "timed_out", False, True),
        (Reply(PICTURE, headers={"X-Robots-Tag": "noai"}), "opted_out", True, False),
        (Reply(status=302, headers={"Location": "/a.png"}), "too_many_redirects", False, False),
        (Reply(status=302), "dead_link", False, False),
        (Reply(status=301, headers={"Location": "file:///etc/hostname"}), "dead_link", False, False),
        (Reply(status=301, headers={"Location": "http://[oops/"}), "dead_link", False, False),
    ],
)
def test_what_gives_no_file_has_its_reason(
    tmp_path: Path, reply: Reply, reason: str, dropped: bool, transient: bool
) -> None:
    fetched = Fetched(tmp_path, {"/a.png": reply}, timeout_s=0.5)
    (failure,) = fetched.get("/a.png")
    assert isinstance(failure, Failure)
    assert (failure.reason, failure.dropped, failure.transient) == (reason, dropped, transient)
    assert "\n" not in failure.message and str(tmp_path) not in failure.message
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "failures.jsonl"]


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("", "bad_address"),
        ("//no.scheme/a.png", "bad_address"),
        ("ftp://example.org/a.png", "bad_address"),
        ("file:///etc/hostname", "bad_address"),
        ("http://", "bad_address"),
        ("http://me:secret@example.org/a.png", "bad_address"),
        ("http://[::1/a.png", "bad_address"),
        ("http://example.org:99999/a.png", "bad_address"),
        ("http://a..b/a.png", "bad_address"),
        ("http://127.0.0.1/a.png", "private_address"),
        ("http://localhost/a.png", "private_address"),
        ("http://2130706433/a.png", "bad_address"),
        ("http://0x7f.1/a.png", "private_address"),
        ("http://10.0.0.7/a.png", "private_address"),
        ("http://169.254.169.254/latest/meta-data", "private_address"),
        ("http://[::1]/a.png", "private_address"),
        ("http://[::ffff:127.0.0.1]/a.png", "private_address"),
        ("http://0.0.0.0/a.png", "private_address"),
    ],
)
def test_an_address_that_leads_nowhere_or_inside_is_refused_unasked(tmp_path: Path, address: str, reason: str) -> None:
    (failure,) = Fetched(tmp_path, {}, allow_private_hosts=False).get(address or " //")
    assert isinstance(failure, Failure)
    assert (failure.reason, failure.transient) == (reason, False)


def test_a_content_that_is_compressed_on_the_way_is_not_unpacked(tmp_path: Path) -> None:
    """A million zeros are about 1 KB compressed: what is kept is what was sent, and never more than `max_bytes`."""
    bomb = gzip.compress(b"\0" * 500_000)
    fetched = Fetched(tmp_path, {"/a.png": Reply(bomb, headers={"Content-Encoding": "gzip"})})
    (path,) = fetched.get("/a.png")
    assert isinstance(path, Path) and path.read_bytes() == bomb
    assert fetched.host.headers[-1]["Accept-Encoding"] == "identity"


def test_redirects_are_followed_as_far_as_allowed(tmp_path: Path) -> None:
    pages = {
        "/1": Reply(status=301, headers={"Location": "/2"}),
        "/2": Reply(status=307, headers={"Location": "3?x=y"}),
        "/3?x=y": Reply(PICTURE),
    }
    assert Fetched(tmp_path / "two", pages, max_redirects=2).reasons("/1") == ["file"]
    assert Fetched(tmp_path / "one", pages, max_redirects=1).reasons("/1") == ["too_many_redirects"]


def test_robots_txt_is_asked_for_once_and_obeyed(tmp_path: Path) -> None:
    rules = b"User-agent: *\nDisallow: /private/\n\nUser-agent: spavl\nDisallow: /no\n"
    pages = {"/robots.txt": Reply(rules, after_s=0.05)} | {
        path: Reply(PICTURE) for path in ("/a.png", "/b.png", "/no/c.png", "/private/d.png")
    }
    fetched = Fetched(tmp_path / "obeyed", pages)
    assert fetched.reasons("/a.png", "/b.png", "/no/c.png", "/private/d.png") == [
        "file", "file", "refused_by_robots", "file",
    ]  # fmt: skip
    assert fetched.host.asked == {"/robots.txt": 1, "/a.png": 1, "/b.png": 1, "/private/d.png": 1}
    ignored = Fetched(tmp_path / "ignored", pages, honour_robots=False)
    assert ignored.reasons("/no/c.png") == ["file"]
    assert ignored.host.asked["/robots.txt"] == 0


def test_a_redirect_is_subject_to_the_rules_of_where_it_leads(tmp_path: Path) -> None:
    pages = {
        "/robots.txt": Reply(b"User-agent: *\nDisallow: /no\n"),
        "/yes": Reply(status=302, headers={"Location": "/no"}),
        "/no": Reply(PICTURE),
    }
    fetched = Fetched(tmp_path, pages)
    assert fetched.reasons("/yes") == ["refused_by_robots"]
    assert fetched.host.asked["/no"] == 0


def test_a_host_that_cannot_say_its_rules_now_is_asked_for_no_picture(tmp_path: Path) -> None:
    pages = {"/robots.txt": [Reply(status=500), Reply(status=500), Reply(b"")], "/a.png": Reply(PICTURE)}
    assert Fetched(tmp_path / "once", pages).reasons("/a.png") == ["server_error"]
    again = Fetched(tmp_path / "again", pages, retries=2)
    assert again.reasons("/a.png") == ["file"]
    assert again.host.asked == {"/robots.txt": 3, "/a.png": 1}


def test_a_busy_host_is_tried_again_after_the_time_it_asks_for(tmp_path: Path) -> None:
    pages = {
        "/soon": [Reply(status=429, headers={"Retry-After": "0"}), Reply(status=503), Reply(PICTURE)],
        "/late": [Reply(status=429, headers={"Retry-After": "3600"}), Reply(PICTURE)],
    }
    fetched = Fetched(tmp_path, pages, retries=2)
    assert fetched.reasons("/soon", "/late") == ["file", "server_error"]
    assert (fetched.host.asked["/soon"], fetched.host.asked["/late"]) == (3, 1)


def test_downloads_run_side_by_side_up_to_the_limit_of_a_host(tmp_path: Path) -> None:
    pages = {f"/{number}": Reply(PICTURE, after_s=0.05) for number in range(9)}
    for per_host, concurrency, most in ((3, 9, 3), (9, 2, 2)):
        fetched = Fetched(tmp_path / str(per_host), pages, per_host=per_host, concurrency=concurrency)
        assert fetched.reasons(*pages) == ["file"] * 9
        assert fetched.host.most_in_flight == most


def test_what_was_downloaded_or_refused_is_never_asked_for_again(tmp_path: Path) -> None:
    """Another process: only what may pass, the 503, is asked for once more."""
    pages = {"/a.png": Reply(PICTURE), "/gone.png": Reply(status=404), "/busy.png": Reply(status=503)}
    host = PictureHost(pages)
    config = TableSource(kind="table", path=Path("unread"), allow_private_hosts=True, retries=0)

    async def twice() -> list[list[str]]:
        made = []
        async with host.running() as address:
            for _ in range(2):
                downloader = Downloader(config, DownloadFolder(tmp_path), 1000)
                got = [await downloader.fetch(f"{address}{path}") for path in pages]
                made.append([one.reason if isinstance(one, Failure) else "file" for one in got])
                await downloader.close()
        return made

    first, second = asyncio.run(twice())
    assert first == second == ["file", "dead_link", "server_error"]
    assert host.asked == {"/robots.txt": 2, "/a.png": 1, "/gone.png": 1, "/busy.png": 2}


def test_a_line_torn_by_a_crash_is_asked_for_again_and_spoils_no_other(tmp_path: Path) -> None:
    folder = DownloadFolder(tmp_path)
    folder.refuse("http://a/", Failure(reason="dead_link", message="HTTP 404"))
    with (tmp_path / "failures.jsonl").open("ab") as file:
        file.write(b'\n{"url": "http://b/", "fail')
    again = DownloadFolder(tmp_path)
    assert isinstance(again.known("http://a/"), Failure)
    assert again.known("http://b/") is None
    again.refuse("http://c/", Failure(reason="dead_link", message="HTTP 404"))
    assert isinstance(DownloadFolder(tmp_path).known("http://c/"), Failure)


def test_a_host_that_does_not_answer_is_left_alone(tmp_path: Path) -> None:
    """Port 1 of loopback refuses: three addresses are tried, and the rest of the host's is not."""
    addresses = [f"http://127.0.0.1:1/{number}.png" for number in range(5)]
    failures = Fetched(tmp_path, {}, per_host=1).get(*addresses)
    assert [one.reason for one in failures if isinstance(one, Failure)] == ["unreachable"] * 5
    assert [one.message for one in failures if isinstance(one, Failure)][3:] == [
        "127.0.0.1 gave no answer 3 times in a row"
    ] * 2


def test_when_no_host_answers_any_more_the_run_stops_and_says_so(tmp_path: Path) -> None:
    """Twenty hosts of loopback, 127.0.0.1 to 127.0.0.20, at a port where nobody listens."""
    addresses = [f"http://127.0.0.{number}:1/a.png" for number in range(1, 21)]
    with pytest.raises(RunError, match=r"last 20 hosts gave no answer.*Check the connection, and run the same command"):
        Fetched(tmp_path, {}).get(*addresses)


def test_many_dead_hosts_are_counted_while_one_that_answered_still_does(tmp_path: Path) -> None:
    """The same twenty hosts behind one that answers: they are dead, and the connection is not."""
    addresses = [f"http://127.0.0.{number}:1/a.png" for number in range(2, 22)]
    fetched = Fetched(tmp_path, {"/a.png": Reply(PICTURE)}, concurrency=1)
    assert fetched.reasons("/a.png", *addresses) == ["file"] + ["unreachable"] * 20
    assert fetched.host.asked == {"/robots.txt": 2, "/a.png": 1}
