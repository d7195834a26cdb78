"""Ray's workers, real ones on this machine: what comes back of an error, and of a request that kills its worker."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from spavl.errors import RunError, UserError
from spavl.execution_config import RayExecutionConfig
from spavl.models.opening import open_workers

WORKERS = RayExecutionConfig(kind="ray", workers=2, cpus=0.5)


@pytest.mark.slow
def test_an_error_comes_back_as_itself_and_a_deadly_request_ends_after_four_deaths(tmp_path: Path) -> None:
    """The first try and three more: the file has a line for each life that the request cost."""
    open_workers(WORKERS)  # for Ray's environment, which has to be there when it is imported
    from spavl.execution.ray_workers import DEATHS, RayWorkers

    lives = tmp_path / "lives"

    def make(key: str) -> Any:  # defined here, so that it is pickled by value
        class Mortal:
            async def generate(self, request: str) -> str:
                if request == "deadly":
                    with lives.open("a") as file:
                        file.write(f"{os.getpid()}\n")
                    os._exit(1)
                return f"{key} {request}"

        if key == "bad":
            raise UserError("key: bad. Give another.")
        return Mortal()

    async def talk() -> None:
        assert await workers.ask("good", "morning") == "good morning"
        with pytest.raises(UserError, match=r"^key: bad\. Give another\.$"):
            await workers.ask("bad", "morning")
        with pytest.raises(RunError, match="died 4 times over the same request"):
            await workers.ask("good", "deadly")
        assert await workers.ask("good", "evening") == "good evening"

    workers = RayWorkers(WORKERS, make)
    try:
        asyncio.run(talk())
        assert len(set(lives.read_text().split())) == DEATHS + 1
        crowd = RayWorkers(WORKERS.model_copy(update={"workers": 5}), make)
        with pytest.raises(UserError, match=r"5 workers with 0\.5 CPU each need more than the 1 of the cluster"):
            asyncio.run(crowd.ask("good", "morning"))
    finally:
        workers.close()


def test_nobody_at_an_address_is_said_at_once() -> None:
    open_workers(WORKERS)
    from spavl.execution.ray_workers import RayWorkers

    config = WORKERS.model_copy(update={"address": "127.0.0.1:1"})
    with pytest.raises(UserError, match=r"execution\.address: no Ray cluster answers at 127\.0\.0\.1:1"):
        asyncio.run(RayWorkers(config, str).ask("key", "morning"))  # type: ignore[arg-type]
