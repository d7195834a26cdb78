"""What a build holds in memory: records on their way, however many there are."""

import gc
from pathlib import Path

import pytest
from aiohttp import web
from tests.pipeline.served_build import CAPTIONS, BuildServer, build_config, draw_pictures, run_build

from spavl.records import Record
from spavl.store import shelf

EVERY = 20


class CountingServer(BuildServer):
    """Counts the records that are alive in this process while it is asked, at every twentieth request."""

    most = requests = 0

    async def _complete(self, request: web.Request) -> web.Response:
        self.requests += 1
        if self.requests % EVERY == 0:
            self.most = max(self.most, sum(issubclass(type(one), Record) for one in gc.get_objects()))
        return await super()._complete(request)


def most_alive(folder: Path, pictures: int) -> tuple[int, int]:
    """Builds with so many pictures; returns the most records that were alive, and how many were made."""
    folder.mkdir()
    server = CountingServer()
    draw_pictures(folder / "pictures", tuple(f"{CAPTIONS[place % 10]} {place}" for place in range(pictures)))
    with server.running() as address:
        source = {"kind": "folder", "path": str(folder / "pictures")}
        images = {"source": source, "leaves": ["theft", "weapon"], "per_leaf": 12, "min_similarity": -1.0}
        config = build_config(folder, address, images=images)
        gc.collect()
        run_build(config)
    made = sum(path.read_bytes().count(b"\n") for path in (folder / "run").glob("*/results.jsonl"))
    return server.most, made


def test_the_records_in_memory_do_not_grow_with_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three times the pictures make about three times the records, and hardly more of them are alive at any time.

    Two calls are in flight; a shelf keeps 4 records here, and a picture counts for what a source lists of it.
    """
    monkeypatch.setattr(shelf, "LATELY_READ", 4)
    few, made = most_alive(tmp_path / "few", 8)
    many, made_of_more = most_alive(tmp_path / "more", 24)
    assert made_of_more > 2.5 * made > 250
    assert 0 < many < few + 20
