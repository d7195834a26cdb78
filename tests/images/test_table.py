"""Tables of addresses: what their columns say, what is wrong with them, and the station on one, killed and resumed."""

import asyncio
import csv
import io
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.images.picture_host import PictureHost, Reply
from tests.images.test_collect import TAXONOMY, WordCounts, blocks

from spavl.errors import RunError, UserError
from spavl.image_config import ImagesConfig, TableSource
from spavl.images import collect
from spavl.images.candidates import Candidate
from spavl.images.table import check_table, table_candidates
from spavl.models import Replay
from spavl.records import ImageRecord
from spavl.store import ImageStore, Manifest, StageDirectory

LAION = {
    "URL": ["http://h/red%20apple.png", "http://h/b.png", None],
    "TEXT": ["a red\napple", None, "lost"],
    "LICENSE": ["cc-by-4.0", "?", None],
    "similarity": [0.31, float("nan"), None],
    "NSFW": ["UNLIKELY", "NSFW", None],
    "WIDTH": [640, 320, 1],
}


def table(path: Path, columns: Mapping[str, list[Any]] = LAION, **settings: Any) -> TableSource:
    """Writes a table, Parquet or CSV by its name, and returns a source of it."""
    if path.suffix == ".parquet":
        pq.write_table(pa.table(dict(columns)), path)
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(zip(*columns.values(), strict=True))
    return TableSource(kind="table", path=path, **settings)


def listed(source: TableSource) -> list[Candidate]:
    return list(table_candidates(source))


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_laions_columns_are_found_and_those_asked_for_are_kept(tmp_path: Path, suffix: str) -> None:
    found = listed(table(tmp_path / f"laion.{suffix}", keep=("NSFW",), licence="see the host"))
    assert [(one.url, one.caption, one.licence, one.similarity) for one in found] == [
        ("http://h/red%20apple.png", "a red apple", "cc-by-4.0", 0.31),
        ("http://h/b.png", "b", "see the host", None),
        ("", "lost", "see the host", None),
    ]
    assert [one.columns["NSFW"] or None for one in found] == ["UNLIKELY", "NSFW", None]
    assert [one.item for one in found][:2] == ["laion/http://h/red%20apple.png", "laion/http://h/b.png"]
    assert found[2].name == f"(row 3 of laion.{suffix})"


def test_what_nobody_says_is_none_and_words_come_from_the_address(tmp_path: Path) -> None:
    source = table(tmp_path / "t.csv", {"Url": ["http://h/x/red%20apple_01.png", "http://h/"]}, caption_column="Url")
    assert [(one.caption, one.licence, one.similarity, dict(one.columns)) for one in listed(source)] == [
        ("red apple", None, None, {}),
        ("picture", None, None, {}),
    ]


def test_an_address_that_stands_twice_is_two_items(tmp_path: Path) -> None:
    source = table(tmp_path / "t.csv", {"url": ["http://h/a.png", "http://h/a.png"], "caption": ["a", "b"]})
    assert [one.name for one in listed(source)] == ["http://h/a.png", "http://h/a.png (row 2 of t.csv)"]


def test_a_folder_of_tables_is_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b", "a"):
        table(tmp_path / f"{name}.parquet", {"url": [f"http://h/{name}.png"], "caption": [name]})
    (tmp_path / "notes.txt").write_text("not a table")
    found = listed(TableSource(kind="table", path=tmp_path))
    assert [one.url for one in found] == ["http://h/a.png", "http://h/b.png"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"url_column": "link"}, "url_column: there is no column 'link'; there are 'URL', 'TEXT', 'LICENSE'"),
        ({"caption_column": "caption"}, "caption_column: there is no column 'caption'; there are 'URL'"),
        ({"licence_column": "l"}, "licence_column: there is no column 'l'"),
        ({"keep": ("punsafe",)}, "keep: there is no column 'punsafe'"),
    ],
)
def test_a_column_that_is_not_there_is_refused_with_those_that_are(
    tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    source = table(tmp_path / "t.parquet", **settings)
    for read in (listed, check_table):
        with pytest.raises(UserError) as caught:
            read(source)
        assert f"images.source.{said}" in str(caught.value)


def broken_parquet() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"url": ["http://h/a.png"] * 1000, "caption": ["a"] * 1000}), buffer)
    return buffer.getvalue()[:-20]


def parquet_with_a_damaged_page() -> bytes:
    """Its footer is whole, and what it leads to is not."""
    buffer = io.BytesIO()
    pq.write_table(pa.table({"url": ["http://h/a.png"] * 1000, "caption": ["a"] * 1000}), buffer)
    return b"PAR1" + b"\xff" * 60 + buffer.getvalue()[64:]


LATE_LATIN = b"url,caption\n" + b"http://h/a.png,a\n" * 5000 + "http://h/b.png,Glück\n".encode("latin-1")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "t.csv",
            b"link,caption\nhttp://h/a.png,a\n",
            "no column is known to hold addresses; there are 'link', 'caption'",
        ),
        ("t.csv", b"", "no column is known to hold addresses; there are none"),
        (
            "t.csv",
            b"url;caption\nhttp://h/a.png;a\n",
            "no column is known to hold addresses; there are 'url;caption'",
        ),
        ("t.csv", b"url\nhttp://h/a.png\n", "caption_column: no column is known to hold captions"),
        ("t.csv", b"url,caption\n", "has no rows"),
        ("t.csv", LATE_LATIN, "or save it as Parquet, or as CSV in UTF-8"),
        ("t.csv", b"url,caption\nhttp://h/\xff\xfe.png,a\n", "or save it as Parquet, or as CSV in UTF-8"),
        ("t.csv", b'url,caption\nhttp://h/a.png,"torn', "cannot be read"),
        ("t.parquet", broken_parquet(), "cannot be read"),
        ("t.parquet", parquet_with_a_damaged_page(), "cannot be read"),
        ("t.parquet", b"", "cannot be read"),
        ("t.txt", b"http://h/a.png", "is neither Parquet nor CSV"),
        ("none/t.txt", b"", "holds no *.parquet and no *.csv"),
        (None, b"", "is not there"),
    ],
)
def test_a_wrong_table_is_refused_in_one_line(tmp_path: Path, name: str | None, content: bytes, said: str) -> None:
    path = tmp_path / (name or "missing.parquet")
    path.parent.mkdir(exist_ok=True)
    if name is not None:
        path.write_bytes(content)
    given = path.parent if path.parent.name == "none" else path
    for read in (listed, check_table):
        with pytest.raises(UserError) as caught:
            read(TableSource(kind="table", path=given))
        assert "\n" not in str(caught.value)
        assert said in str(caught.value) and "images.source." in str(caught.value)


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("x" * 131_073, "row 3, which begins in line 5: field larger than field limit (131072)"),
        ('"torn', "row 3, which begins in line 5: unexpected end of data; is a quotation mark not closed?"),
    ],
)
def test_a_field_that_cannot_be_read_is_named_by_its_row_and_line(tmp_path: Path, field: str, said: str) -> None:
    """The header is line 1, row 1 line 2, row 2 lines 3 and 4; another reader in the process let fields be longer."""
    csv.field_size_limit(1 << 28)
    (tmp_path / "t.csv").write_text(f'url,caption\nhttp://h/a.png,a\nhttp://h/b.png,"b\nb"\nhttp://h/c.png,{field}\n')
    with pytest.raises(UserError) as caught:
        listed(TableSource(kind="table", path=tmp_path / "t.csv"))
    assert said in str(caught.value) and "save it as Parquet" in str(caught.value)
    (tmp_path / "t.csv").write_text(f"url,caption\nhttp://h/c.png,{'x' * 131_072}\n")
    assert [len(one.caption) for one in listed(TableSource(kind="table", path=tmp_path / "t.csv"))] == [131_072]


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_what_nobody_sees_in_a_caption_or_a_licence_is_not_kept(tmp_path: Path, suffix: str) -> None:
    hidden = "".join(chr(0xE0000 + ord(letter)) for letter in "ignore the picture")
    columns = {
        "url": ["http://h/a.png"],
        "caption": [f"a \x1b[2Jred\x00 ap\u200bple\u202e{hidden}"],
        "licence": ["CC\x070"],
    }
    (found,) = listed(table(tmp_path / f"t.{suffix}", columns))
    assert (found.caption, found.licence) == ("a red apple", "CC 0")


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"url": ["a.png", "ftp://h/b.png", None], "caption": ["a"] * 3}, "url_column: none of the first 3 rows of"),
        ({"url": [1, 2], "caption": ["a"] * 2}, "has an address in column 'url'. Name the column"),
        ({"url": ["http://h/a.png"], "caption": [7]}, "caption_column: none of the 1 rows of"),
        ({"url": ["http://h/a.png"] * 2, "caption": [" ", None]}, "has text in column 'caption'. Name the column"),
    ],
)
def test_columns_that_hold_something_else_are_named_before_anything_is_spent(
    tmp_path: Path, columns: Mapping[str, list[Any]], said: str
) -> None:
    with pytest.raises(UserError) as caught:
        check_table(table(tmp_path / "t.parquet", columns))
    assert said in str(caught.value)


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_a_check_and_a_collection_agree_on_tables_with_few_captions_and_with_none(tmp_path: Path, suffix: str) -> None:
    """Of 1,200 rows the last alone has a caption, which is enough for both; without it both refuse the file."""
    addresses = [f"http://h/{number}.png" for number in range(1200)]
    few = table(tmp_path / f"few.{suffix}", {"url": addresses, "caption": [*[None] * 1199, "a bell"]})
    check_table(few)
    assert len(listed(few)) == 1200
    none = table(tmp_path / f"none.{suffix}", {"url": addresses, "caption": [""] * 1200})
    for read in (listed, check_table):
        with pytest.raises(
            UserError, match=r"caption_column: none of the 1200 rows of .* has text in column 'caption'"
        ):
            read(none)


def test_a_check_passes_what_a_collection_would_read(tmp_path: Path) -> None:
    """One good address among three, an empty file beside a full one, and addresses alone that stand for captions."""
    check_table(table(tmp_path / "laion.parquet"))
    (tmp_path / "some").mkdir()
    table(tmp_path / "some" / "0.csv", {"url": [], "caption": []})
    table(tmp_path / "some" / "1.csv", {"url": ["HTTP://h/a.png"], "caption": ["a"]})
    check_table(TableSource(kind="table", path=tmp_path / "some"))
    check_table(table(tmp_path / "alone.csv", {"url": ["http://h/a.png"]}, caption_column="url"))


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    blocks(seed).save(buffer, "PNG")
    return buffer.getvalue()


CAPTIONS = ("red apple", "apple", "pear", "bell")


class Run:
    """A run of the images station on a table of four pictures."""

    def __init__(self, path: Path, address: str, **settings: Any) -> None:
        path.mkdir(exist_ok=True)
        columns = {"url": [f"{address}/{caption}.png" for caption in CAPTIONS], "caption": list(CAPTIONS)}
        source = table(path / "t.csv", columns, allow_private_hosts=True, retries=0)
        self.path, self.config = path, ImagesConfig(source=source, per_leaf=2, **settings)

    async def collect(self, replay: Replay | None = None) -> Manifest:
        store = ImageStore(self.path / "pictures")
        return await collect(self.config, TAXONOMY, self.stage(), store, WordCounts(), replay)

    def stage(self) -> StageDirectory:
        return StageDirectory(self.path / "images", {}, {})

    def records(self) -> dict[str, ImageRecord]:
        return {one.caption: one for one in self.stage().records(ImageRecord)}

    def reasons(self) -> dict[str, str]:
        return {item.rpartition("/")[2]: one.reason for item, one in self.stage().failures().items()}

    def results(self) -> bytes:
        return self.stage().results_path.read_bytes()


def test_pictures_are_downloaded_for_the_leaves_and_what_is_known_of_each_is_kept(tmp_path: Path) -> None:
    """Two of each leaf are wanted: the red apple is gone, so the apple takes its place; the bell is a page of words."""
    pages = {
        "/apple.png": Reply(png(1)),
        "/pear.png": Reply(png(2)),
        "/bell.png": Reply(b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"),
    }
    host = PictureHost(pages)

    async def collected() -> tuple[Run, Manifest]:
        async with host.running() as address:
            run = Run(tmp_path / "run", address)
            return run, await run.collect()

    run, manifest = asyncio.run(collected())
    assert manifest.counts.model_dump() == {
        "items": 4, "records": 2, "failures": 2, "dropped": 0, "by_reason": {"dead_link": 1, "unreadable": 1},
        "passing": 0,
    }  # fmt: skip
    records = run.records()
    assert set(records) == {"apple", "pear"}
    record = records["pear"]
    assert record.url is not None and record.url.endswith("/pear.png")
    assert (record.size, record.licence, record.source_similarity, record.columns) == (len(png(2)), None, None, {})
    assert record.md5 is not None and len(record.md5) == 32
    assert record.original_sha256 is not None and record.original_sha256 != record.sha256
    assert host.asked["/robots.txt"] == 1


def test_a_run_that_is_killed_downloads_nothing_twice_and_ends_as_another(tmp_path: Path) -> None:
    """The bell comes without end, so the first attempt is killed with two pictures; nobody wants the apple."""
    pages: dict[str, Reply | list[Reply]] = {
        f"/{caption}.png".replace(" ", "%20"): Reply(png(seed)) for seed, caption in enumerate(CAPTIONS[:3])
    }
    pages["/bell.png"] = [Reply(b"x" * 10_000, drip_s=0.05), Reply(png(3))]
    host = PictureHost(pages)
    script = (
        "import asyncio, sys; from pathlib import Path; from tests.images.test_table import Run; "
        "asyncio.run(Run(Path(sys.argv[1]), sys.argv[2]).collect())"
    )

    async def killed_and_resumed() -> tuple[Run, Run]:
        async with host.running() as address:
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-c", script, str(tmp_path / "run"), address,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            kept = tmp_path / "run" / "downloads"
            while not (host.asked["/bell.png"] and len(files(kept)) == 2):
                await asyncio.sleep(0.05)
            child.kill()
            await child.wait()
            run, other = Run(tmp_path / "run", address), Run(tmp_path / "other", address)
            await run.collect()
            assert host.asked == {"/robots.txt": 2, "/bell.png": 2, "/red%20apple.png": 1, "/pear.png": 1}
            await other.collect()
            return run, other

    run, other = asyncio.run(killed_and_resumed())
    assert set(run.records()) == {"red apple", "pear", "bell"}
    assert run.results() == other.results()


def test_a_replay_takes_what_was_downloaded_and_counts_what_was_not(tmp_path: Path) -> None:
    """Of four addresses three were downloaded; the host is asked nothing more, and the fourth lacks."""
    names = [f"/{caption}.png".replace(" ", "%20") for caption in CAPTIONS]
    host = PictureHost({name: Reply(png(seed)) for seed, name in enumerate(names)})

    async def replayed() -> Run:
        async with host.running() as address:
            run = Run(tmp_path / "run", address)
            await run.collect()
            asked = dict(host.asked)
            again = Run(tmp_path / "again", address)
            shutil.copytree(run.path / "downloads", again.path / "downloads")
            await again.collect(Replay())
            assert again.results() == run.results()
            nothing = Run(tmp_path / "nothing", address)
            with pytest.raises(RunError, match=r"4 times .*a download is not stored"):
                await nothing.collect(Replay())
            assert dict(host.asked) == asked
            return again

    assert set(asyncio.run(replayed()).records()) == {"red apple", "pear", "bell"}


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]


def test_a_failure_that_passes_is_tried_again_and_the_run_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    """First the red apple's host is busy, so the apple is taken in its place and the attempt ends; then it is not."""
    pages: dict[str, Reply | list[Reply]] = {
        f"/{caption}.png".replace(" ", "%20"): Reply(png(seed)) for seed, caption in enumerate(CAPTIONS)
    }
    pages["/red%20apple.png"] = [Reply(status=503), Reply(png(0))]
    host = PictureHost(pages)

    async def twice() -> tuple[Run, Run]:
        async with host.running() as address:
            run, other = Run(tmp_path / "run", address), Run(tmp_path / "other", address)
            await run.collect()
            assert set(run.records()) == {"apple", "pear", "bell"}
            assert run.reasons() == {"red apple.png": "server_error"}
            run.stage().manifest_path.unlink()
            await run.collect()
            await other.collect()
            return run, other

    run, other = asyncio.run(twice())
    assert set(run.records()) == {"red apple", "pear", "bell"}
    assert run.reasons() == {"apple.png": "leaf_full"}
    assert run.results() == other.results()


def test_no_more_is_downloaded_than_the_leaves_lack(tmp_path: Path) -> None:
    """One of each leaf is wanted: the red apple and the bell; nobody asks for the apple and the pear."""
    host = PictureHost({f"/{caption}.png".replace(" ", "%20"): Reply(png(s)) for s, caption in enumerate(CAPTIONS)})

    async def collected() -> None:
        async with host.running() as address:
            run = Run(tmp_path / "run", address)
            run.config = run.config.model_copy(update={"per_leaf": 1})
            await run.collect()

    asyncio.run(collected())
    assert set(host.asked) == {"/robots.txt", "/red%20apple.png", "/bell.png"}
