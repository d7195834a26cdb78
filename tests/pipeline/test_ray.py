"""A build in Ray's workers, real ones on this machine: the same dataset, and what a killed worker costs."""

import asyncio
import hashlib
import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.pipeline.served_build import BuildServer, build_config, draw_pictures, run_build
from tests.tiny_vlm import build_tiny_vlm

from spavl.config import RunConfig
from spavl.pipeline.road import BUILD_STAGES

RAY = {"kind": "ray", "workers": 2, "cpus": 0.5}
WORKER = "ray::_Worker"
PATIENCE_S = 120


class SlowServer(BuildServer):
    """Takes its time, so that a worker has requests under way when it is killed."""

    async def _complete(self, request: web.Request) -> web.Response:
        await asyncio.sleep(0.1)
        return await super()._complete(request)


def config(folder: Path, address: str, tiny: Path, **changes: Any) -> RunConfig:
    """Returns a build with two served responders and a local one."""
    folder.mkdir()
    draw_pictures(folder / "pictures")
    models = build_config(folder, address).model_dump(mode="json")["models"]
    models["local"] = {"kind": "hf", "path": str(tiny), "dtype": "float32", "batch_size": 3}
    responders = {name: {"model": name, "max_tokens": 16} for name in ("plain", "careful", "local")}
    return build_config(folder, address, models=models, responses={"responders": responders}, **changes)


def made(run: Path) -> dict[str, str]:
    """Returns file -> SHA-256 of every stage's outcomes and of the dataset."""
    files = [run / stage / "results.jsonl" for stage in BUILD_STAGES] + sorted(run.glob("dataset/data/*.parquet"))
    return {str(file.relative_to(run)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def workers() -> list[int]:
    """Returns the ids of the workers that descend from this process."""
    parents, found = {}, []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
            title = (stat.parent / "cmdline").read_bytes().decode()
        except OSError:
            continue
        if title.startswith(WORKER):
            found.append(int(stat.parent.name))
    return [pid for pid in found if os.getpid() in ancestors(pid, parents)]


def ancestors(pid: int, parents: dict[int, int]) -> list[int]:
    return [pid] if pid not in parents or pid <= 1 else [pid, *ancestors(parents[pid], parents)]


def kill_one(results: Path, killed: list[int]) -> None:
    """Kills a worker once some responses are there."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if results.exists() and results.read_bytes().count(b"\n") >= 4:
            killed.append(workers()[0])
            os.kill(killed[0], signal.SIGKILL)
            return
        time.sleep(0.01)


@pytest.mark.slow
def test_workers_make_the_same_dataset_though_one_is_killed(tmp_path: Path) -> None:
    """Only what the killed worker had under way is asked again: of two requests in flight, one at most was its own."""
    tiny = build_tiny_vlm(tmp_path / "tiny")
    server = SlowServer()
    with server.running() as address:
        here = config(tmp_path / "here", address, tiny)
        run_build(here)
        asked = Counter(digest for _, digest in server.asked)
        server.forget()

        spread = config(tmp_path / "spread", address, tiny, execution=RAY)
        killed: list[int] = []
        killer = threading.Thread(target=kill_one, args=(spread.run / "responses" / "results.jsonl", killed))
        killer.start()
        run_build(spread)
        killer.join()
        again = Counter(digest for _, digest in server.asked)
    assert killed
    assert made(spread.run) == made(here.run)
    assert again.keys() == asked.keys()
    assert (again - asked).total() <= 1
    assert not workers()
