"""Training on several processes: how they meet, what they tell each other, and how a failure of one ends all.

`torchrun` and `accelerate launch` start the same command several times and say so in the environment. Only the first
process, the main one, walks the road, writes files and speaks; the others wait until it has something to train, take
part in that, and end. Messages go over gloo, gradients over NCCL where there are GPUs.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import Store
from torch.distributed.rendezvous import rendezvous

from spavl.errors import RunError, SpavlError, UserError
from spavl.execution import progress_bar
from spavl.execution.progress import Advance

T = TypeVar("T")
J = TypeVar("J")

WAIT = timedelta(days=30)
"""How long a process waits for something to train: the main one may build a dataset first."""
STALL = timedelta(hours=1)
"""How long a process waits for another within training, the writing of a checkpoint included."""
CALLED, FAILED, DONE, OVER = "spavl/called", "spavl/failed", "spavl/done", "spavl/over"
"""Marks in the store that the launcher gives the processes: what the others are wanted for, how many failed, how many
are done, and that all are."""


class Processes(NamedTuple):
    """The processes of one training, seen from one of them; alone, nothing here does anything."""

    rank: int = 0
    number: int = 1
    shards: bool = False
    """Whether each holds a part of every weight (`sharding.py`); then a pass through the model is a meeting of all."""

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def device(self, wanted: str) -> str:
        """Returns this process's own device of the kind that is wanted.

        Raises:
            UserError: There is no such device.
        """
        if self.number == 1 or not wanted.startswith("cuda"):
            return wanted
        own = f"cuda:{int(os.environ['LOCAL_RANK'])}"
        check_device(own)
        torch.cuda.set_device(own)
        return own

    def gather(self, value: T) -> list[T]:
        """Returns every process's value, in order of rank; a meeting."""
        if self.number == 1:
            return [value]
        values = [value] * self.number
        dist.all_gather_object(values, value)
        return values

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Adds up the gradients of all processes, one flat buffer a precision; sharded ones are summed in backward."""
        if self.number == 1 or self.shards:
            return
        kinds: dict[torch.dtype, list[Tensor]] = {}
        for parameter in parameters:
            if parameter.grad is None:  # nothing of this batch was dealt to this process
                parameter.grad = torch.zeros_like(parameter)
            kinds.setdefault(parameter.dtype, []).append(parameter.grad)
        for gradients in kinds.values():
            flat = torch.cat([gradient.flatten() for gradient in gradients])
            dist.all_reduce(flat)
            for gradient, summed in zip(gradients, torch.split(flat, [one.numel() for one in gradients]), strict=True):
                gradient.copy_(summed.view_as(gradient))

    @contextmanager
    def progress(self, label: str, total: int, done: int = 0) -> Iterator[Advance]:
        """Yields a function that advances the main process's progress bar."""
        if not self.is_main:
            yield lambda count, latest=None: None
            return
        with progress_bar(label, total, done) as advance:
            yield advance


ALONE = Processes()


def check_device(wanted: str) -> None:
    """Checks that a device is on this machine.

    Raises:
        UserError: It is not.
    """
    number, gpus = int(wanted.partition(":")[2] or 0), torch.cuda.device_count()
    if wanted != "cpu" and number >= gpus:
        raise UserError(
            f"train.device: {wanted} is not here: torch {torch.__version__} sees {gpus} CUDA GPUs on this machine. Set "
            "train.device=cpu, or train where the GPU is; several processes need a GPU each."
        )


def is_follower() -> bool:
    """Returns whether this process was started to help another."""
    return _number() > 1 and int(os.environ["RANK"]) > 0


def lead(work: Callable[[J, Processes], T], job: J) -> T:
    """Does a work on all processes; called by the main one.

    Raises:
        UserError: The launcher was told to shard, which is for the configuration to say.
        RunError: Another process was lost.
        SystemExit: Another process failed and has said why.
    """
    if _number() == 1:
        return work(job, ALONE)
    _check_launcher()
    _store().set(CALLED, "work")
    with _together() as processes:
        processes.gather((work, job))
        return work(job, processes)


def follow() -> None:
    """Waits until the main process leads a work, and takes part; returns at once when it has ended without one.

    Raises:
        RunError: Another process was lost.
        SystemExit: Another process failed and has said why.
    """
    store = _store()
    try:
        store.wait([CALLED], WAIT)
        wanted = store.get(CALLED) == b"work"
    except dist.DistError:  # the store ended with the main process
        wanted = False
    if not wanted:
        return
    with _together() as processes:
        given: list[Any] = processes.gather(None)
        work, job = given[0]  # the main one's
        work(job, processes)


@contextmanager
def leading() -> Iterator[None]:
    """Lets the processes that still wait for work end when the main one's block does."""
    try:
        yield
    finally:
        if _number() > 1:
            _store().compare_set(CALLED, "", "nothing")


@contextmanager
def _together() -> Iterator[Processes]:
    """Joins the processes; the first failure among them is raised, and the others, which follow from it, are quiet."""
    rank, number, store = int(os.environ["RANK"]), _number(), _store()
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=number, timeout=STALL)
    try:
        yield Processes(rank, number)
    except (SpavlError, RuntimeError) as error:  # RuntimeError: what collectives raise when another process is gone
        if not _is_first_failure(store):
            raise SystemExit(1) from error
        if isinstance(error, dist.DistError) or "gloo" in str(error):
            raise RunError(
                "A process of this training was lost; the launcher's report says which. What was saved is kept: run "
                "the same command again."
            ) from error
        raise
    _wait_for_all(store, number)
    dist.destroy_process_group()


def _is_first_failure(store: Store) -> bool:
    try:
        store.set(OVER, "")
        return int(store.add(FAILED, 1)) == 1
    except dist.DistError:  # it ended with the process that kept it
        return False


def _wait_for_all(store: Store, number: int) -> None:
    """Waits until every process is done: one that leaves breaks the last meeting of those that are still in it."""
    try:
        if store.add(DONE, 1) == number:
            store.set(OVER, "")
        store.wait([OVER], STALL)
    except dist.DistError:  # as above: then all are done
        return


def _number() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


@cache
def _store() -> Store:
    store: Store = next(rendezvous("env://", timeout=WAIT))[0]
    return store


def _check_launcher() -> None:
    for plugin in ("DEEPSPEED", "FSDP", "MEGATRON_LM"):
        if os.environ.get(f"ACCELERATE_USE_{plugin}", "false").lower() == "true":
            raise UserError(
                f"accelerate launch: distributed_type {plugin} is not read here; allowed: MULTI_GPU, without a GPU "
                "with use_cpu, as in configs/accelerate. What is sharded is said by train.parallel (zero2, zero3)."
            )
