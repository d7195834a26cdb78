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

from spavl.config import ResponsesConfig, RunConfig
from spavl.errors import NoUseError, RunError
from spavl.execution_config import RayExecutionConfig
from spavl.pipeline.road import BUILD_STAGES

RAY = {"kind": "ray", "workers": 2, "cpus": 0.5}
WORKER = "ray::_Worker"
PATIENCE_S = 120
HEARTBEAT = {"initial_delay_ms": 500, "period_ms": 500, "timeout_ms": 500, "failure_threshold": 2}
"""Of Ray's node, so that it is known to be dead within two seconds rather than half a minute."""


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


def workers(title_begins: str = WORKER) -> list[int]:
    """Returns the ids of the workers, or of others by the title, that descend from this process."""
    parents, found = {}, []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
            title = (stat.parent / "cmdline").read_bytes().partition(b"\0")[0].decode()
        except OSError:
            continue
        if title.startswith(title_begins) or title.endswith(f"/{title_begins}"):
            found.append(int(stat.parent.name))
    return [pid for pid in found if os.getpid() in ancestors(pid, parents)]


def ancestors(pid: int, parents: dict[int, int]) -> list[int]:
    return [pid] if pid not in parents or pid <= 1 else [pid, *ancestors(parents[pid], parents)]


def kill_one(results: Path, killed: list[int], title_begins: str = WORKER) -> None:
    """Kills a worker, or another by its title, once some responses are there."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if results.exists() and results.read_bytes().count(b"\n") >= 4:
            killed.append(workers(title_begins)[0])
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


@pytest.mark.slow
def test_a_node_that_dies_is_one_error_and_the_same_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the node go both workers; of two requests in flight, both may have to be asked again and nothing else."""
    for name, value in HEARTBEAT.items():
        monkeypatch.setenv(f"RAY_health_check_{name}", str(value))
    server = SlowServer()
    with server.running() as address:
        here = config(tmp_path / "here", address, tiny=tmp_path)
        plain = {"responders": {name: {"model": name} for name in ("plain", "careful")}}
        spread = here.model_copy(
            update={"execution": RayExecutionConfig.model_validate(RAY), "responses": ResponsesConfig(**plain)}
        )
        killed: list[int] = []
        results = spread.run / "responses" / "results.jsonl"
        killer = threading.Thread(target=kill_one, args=(results, killed, "raylet"))
        killer.start()
        with pytest.raises(RunError, match=r"Ray's node on this machine died.*run the same command again") as caught:
            run_build(spread)
        killer.join()
        assert killed and not isinstance(caught.value, NoUseError)
        run_build(spread)
        asked = Counter(digest for _, digest in server.asked)
    assert asked.total() - len(asked) <= 2
