"""Workers under Ray: processes on one machine or several that each hold what is made for a key, and are asked there.

Ray places them, starts one again that died, and asks it again what it had under way. All that is decided here is which
one is asked next: the one with the least under way. Nothing is written here; who asks keeps what comes back. Only a run
with `execution.kind: ray` imports this module, after setting the configuration's `environment`, which Ray reads then.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import ray
from ray.exceptions import RayActorError, RayTaskError

from spavl.errors import NoUseError, RunError, SpavlError, UserError
from spavl.execution_config import RayExecutionConfig

DEATHS = 3
"""So often a worker may die over the same request before the run ends."""
PATIENCE_S = 10
"""How long an address is tried; Ray itself would try for minutes."""
RESTART_S = 60
"""How long a worker that died is waited for."""
OBJECTS_BYTES = 100_000_000
"""Ray's shared memory on this machine; requests and replies are small, and pictures never pass through it."""

Key = TypeVar("Key", bound=Hashable)
Asked = TypeVar("Asked", contravariant=True)
Answered = TypeVar("Answered", covariant=True)


class Holdable(Protocol[Asked, Answered]):
    """What a worker holds for a key."""

    async def generate(self, requests: Asked, /) -> Answered:
        """Answers."""

    async def close(self) -> None:
        """Gives connections and memory back."""


Make = Callable[[Key], Holdable[Asked, Answered]]


class _Worker(Generic[Key, Asked, Answered]):
    """One process; what a key stands for is made when it is first asked for."""

    def __init__(self, make: Make[Key, Asked, Answered], folder: Path) -> None:
        if folder.is_dir():  # paths of a configuration are relative to it
            os.chdir(folder)
        self._make = make
        self._held: dict[Key, Holdable[Asked, Answered]] = {}

    async def ask(self, key: Key, requests: Asked) -> Answered:
        if key not in self._held:
            self._held[key] = self._make(key)
        return await self._held[key].generate(requests)

    async def is_alive(self) -> bool:
        return True

    async def free(self, key: Key) -> None:
        if key in self._held:
            await self._held.pop(key).close()


class RayWorkers(Generic[Key, Asked, Answered]):
    """The workers of one run; they start when the first request comes.

    Args:
        config: How many, and where.
        make: Makes what a key stands for, in a worker; it is pickled, so it is a function of a module.
    """

    def __init__(self, config: RayExecutionConfig, make: Make[Key, Asked, Answered]) -> None:
        self._config = config
        self._make = make
        self._workers: list[Any] = []
        self._under_way: list[int] = []
        self._ours = False

    async def ask(self, key: Key, requests: Asked) -> Answered:
        """Has requests answered by the worker with the least under way.

        Raises:
            UserError: The cluster cannot be reached or is too small, or whatever stands behind the key says so.
            NoUseError: A worker died of these requests again and again.
            RunError: Ray does not start, or it died, and its workers with it.
        """
        if not self._workers:
            self._start()
        place = self._under_way.index(min(self._under_way))
        self._under_way[place] += 1
        try:
            answered: Answered = await self._workers[place].ask.remote(key, requests)
        except RayTaskError as error:
            if isinstance(error.cause, SpavlError):
                raise error.cause from error
            raise
        except RayActorError as error:
            raise await self._why_it_died(place, error) from error
        finally:
            self._under_way[place] -= 1
        return answered

    async def free(self, key: Key) -> None:
        """Has every worker give back what it holds for a key; one that is dead holds nothing."""
        freed = await asyncio.gather(*(worker.free.remote(key) for worker in self._workers), return_exceptions=True)
        for error in freed:
            if isinstance(error, BaseException) and not isinstance(error, RayActorError):
                raise error

    def close(self) -> None:
        """Ends the workers, and the cluster if it was started here."""
        for worker in self._workers:
            ray.kill(worker)
        self._workers, self._under_way = [], []
        if self._ours:
            ray.shutdown()
            self._ours = False

    async def _why_it_died(self, place: int, error: RayActorError) -> RunError:
        """Tells a worker that its requests killed, and that Ray started again, from one that Ray cannot start again."""
        if await self._is_back(place):
            return NoUseError(
                f"A worker died {DEATHS + 1} times over the same request ({_first_line(error)}). Its memory may be "
                "full: give local models a smaller `batch_size`. Then run the same command again: what was answered "
                "is kept."
            )
        where = f"the cluster at {self._config.address}" if self._config.address else "this machine"
        return RunError(
            f"Ray's node on {where} died, and the workers with it ({_first_line(error)}). Nothing that was answered is "
            "lost: run the same command again, and it goes on from there."
        )

    async def _is_back(self, place: int) -> bool:
        async def ask() -> bool:
            return bool(await self._workers[place].is_alive.remote())

        try:
            return await asyncio.wait_for(ask(), RESTART_S)
        except (RayActorError, TimeoutError):
            return False

    def _start(self) -> None:
        config = self._config
        if not ray.is_initialized():
            _connect(config)
            self._ours = True
        _check_room(config)
        worker = ray.remote(_Worker).options(
            num_cpus=config.cpus,
            num_gpus=config.gpus,
            scheduling_strategy="SPREAD",
            max_restarts=-1,
            max_task_retries=DEATHS,
        )
        self._workers = [worker.remote(self._make, Path.cwd()) for _ in range(config.workers)]
        self._under_way = [0] * config.workers


def _connect(config: RayExecutionConfig) -> None:
    here = {
        "num_cpus": max(1, round(config.workers * config.cpus)),
        "object_store_memory": OBJECTS_BYTES,
        "include_dashboard": False,
    }
    try:
        if config.address and config.address != "auto":
            host, _, port = config.address.rpartition(":")
            socket.create_connection((host, int(port)), PATIENCE_S).close()
        ray.init(
            address=config.address or "local",
            configure_logging=False,
            log_to_driver=False,
            **({} if config.address else here),
        )
    except Exception as error:  # Ray raises Exception itself where its processes do not come up
        ray.shutdown()
        if config.address:
            raise UserError(
                f"execution.address: no Ray cluster answers at {config.address} ({_first_line(error)}). "
                "Start one with `ray start`, or leave the address out."
            ) from error
        raise RunError(
            f"Ray did not start on this machine ({_first_line(error)}). It may be too busy for it: run the same "
            "command again, or leave `execution` out."
        ) from error


def _check_room(config: RayExecutionConfig) -> None:
    """Refuses workers that Ray would wait for without end."""
    there = ray.cluster_resources()
    for resource, each in (("CPU", config.cpus), ("GPU", config.gpus)):
        if config.workers * each > there.get(resource, 0):
            raise UserError(
                f"execution.workers: {config.workers} workers with {each:g} {resource} each need more than the "
                f"{there.get(resource, 0):g} of the cluster. Take fewer workers, or let each reserve less."
            )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
