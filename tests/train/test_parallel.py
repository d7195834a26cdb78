"""Two real processes train what one does, go on bit for bit after a kill, and end together when one fails."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.train.material import make_pairs, settings, write_pictures

from spavl.config import LoraSettings, TrainConfig
from spavl.errors import UserError
from spavl.loss_config import BcoPairLossConfig, SigmoidLossConfig
from spavl.train import train_dpo
from spavl.train.parallel import ALONE, lead

ROOT = Path(__file__).parents[2]
PAIRS = 10
SCRIPT = """
import os, sys
from pathlib import Path
from spavl.config import TrainConfig
from spavl.errors import SpavlError
from spavl.train import follow_training, train_dpo
from tests.train.material import make_pairs, write_pictures
config, (tiny, pictures, output) = TrainConfig.model_validate_json(sys.argv[1]), map(Path, sys.argv[2:])
try:
    if os.environ["RANK"] == "0":
        train_dpo(config, make_pairs(10), write_pictures(pictures), tiny, output, 3)
    else:
        follow_training()
except SpavlError as error:
    raise SystemExit(f"spavl: {error}")
"""
NO_DROPOUT = LoraSettings(rank=4, alpha=8)
Launched = tuple[subprocess.Popen[str], subprocess.Popen[str]]


@contextmanager
def launched(config: TrainConfig, tiny: Path, output: Path) -> Iterator[Launched]:
    """Starts a training of two processes, as a launcher does, and ends them when the block does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    places = [str(tiny), str(output.parent / "pictures"), str(output)]
    command = [sys.executable, "-c", SCRIPT, config.model_dump_json(), *places]
    shared = os.environ | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    one, other = (
        subprocess.Popen(command, cwd=ROOT, env=shared | {"RANK": rank}, stderr=subprocess.PIPE, text=True)
        for rank in ("0", "1")
    )
    try:
        yield one, other
    finally:
        for process in (one, other):
            process.kill()
            process.wait()


def train_on_two(config: TrainConfig, tiny: Path, output: Path) -> None:
    with launched(config, tiny, output) as processes:
        for process in processes:
            _, said = process.communicate(timeout=240)
            assert process.returncode == 0, said


def metrics_of(output: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_bytes().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def assert_close(one: Path, other: Path) -> None:
    """Compares every number of the log and every exported weight."""
    for line, same in zip(metrics_of(one), metrics_of(other), strict=True):
        assert line.pop("row_tokens") == same.pop("row_tokens")
        assert line.pop("tokens") <= same.pop("tokens")  # a picture that is cut between processes has its prompt twice
        if line["step"] == 1:  # the policy is the reference: who is ahead is rounding
            del line["accuracy"], same["accuracy"]
        assert line["loss"] == pytest.approx(same["loss"], rel=0, abs=1e-5)
        assert numbers(line) == pytest.approx(
            numbers(same), rel=1e-5, abs=1e-4
        )  # float32 sums of 370 nats: steps of 3e-5
    weights, others = (load_file(folder / "model" / "model.safetensors") for folder in (one, other))
    assert weights.keys() == others.keys()
    for name, tensor in weights.items():
        if name.endswith("k_proj.bias"):  # adds the same to all of a row's scores: its gradient is rounding alone
            continue
        torch.testing.assert_close(others[name], tensor, atol=1e-5, rtol=0)


def numbers(line: dict[str, Any]) -> dict[str, float]:
    flat = {key: value for key, value in line.items() if not isinstance(value, dict)}
    for key, value in line.items():
        flat |= {f"{key}.{name}": one for name, one in value.items()} if isinstance(value, dict) else {}
    return {key: -1.0 if value is None else value for key, value in flat.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"parallel": "replicate", "lora": NO_DROPOUT},
        {"parallel": "replicate", "lora": None, "projector": True, "vision_blocks": 1},
        {"parallel": "zero2", "lora": NO_DROPOUT, "projector": True},
        {"parallel": "zero3", "lora": None, "projector": True, "vision_blocks": 1, "gradient_checkpointing": True},
    ],
    ids=lambda changes: f"{changes['parallel']}-{'full' if changes['lora'] is None else 'lora'}",
)
def test_two_processes_train_what_one_does(changes: dict[str, Any], tiny: Path, tmp_path: Path) -> None:
    """Ten pairs about three pictures in batches of 3, 3, 3 and 1: the last of an epoch leaves a process idle.

    The loss carries BCO's state, which both processes have to feed.
    """
    losses = (SigmoidLossConfig(weight=0.8), BcoPairLossConfig(weight=0.2))
    config = settings(
        loss=losses, learning_rate=1e-3, weight_decay=0.01, batch_size=3, tokens_per_forward=150, **changes
    )
    picture = write_pictures(tmp_path / "pictures")
    alone = config.model_copy(update={"cache": tmp_path / "cache_alone"})
    train_dpo(alone, make_pairs(PAIRS), picture, tiny, tmp_path / "alone", 3)
    train_on_two(config.model_copy(update={"cache": tmp_path / "cache"}), tiny, tmp_path / "two")
    assert_close(tmp_path / "alone", tmp_path / "two")


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["replicate", "zero3"])
def test_two_killed_processes_go_on_bitwise(parallel: str, tiny: Path, tmp_path: Path) -> None:
    """Kill -9 of both in the middle of 60 steps, then again to the end, against two that nobody killed."""
    config = settings(parallel=parallel, epochs=20, cache=tmp_path / "cache")
    train_on_two(config, tiny, tmp_path / "whole")
    killed = tmp_path / "killed"
    with launched(config, tiny, killed) as processes:
        deadline = time.monotonic() + 120
        while _newest_step(killed) < 20:
            assert time.monotonic() < deadline and processes[0].poll() is None
            time.sleep(0.005)
        for process in processes:
            process.send_signal(signal.SIGKILL)
    assert json.loads((killed / "train.json").read_bytes())["result"] is None and _newest_step(killed) < 60
    train_on_two(config, tiny, killed)
    for name in ("trained.safetensors", "optimizer.safetensors", "state.json"):
        place = Path("checkpoints") / "step-60" / name
        assert (tmp_path / "whole" / place).read_bytes() == (killed / place).read_bytes()
    assert metrics_of(tmp_path / "whole") == metrics_of(killed)


@pytest.mark.slow
def test_a_failure_of_one_process_ends_both_with_one_message(tiny: Path, tmp_path: Path) -> None:
    """A budget of 30 tokens holds no pair; both find that out, and the second to do so is quiet."""
    with launched(settings(tokens_per_forward=30, cache=tmp_path / "cache"), tiny, tmp_path / "two") as processes:
        said = [process.communicate(timeout=120)[1] for process in processes]
        codes = [process.returncode for process in processes]
    assert codes == [1, 1]
    assert sum("train.tokens_per_forward=30" in text for text in said) == 1
    assert not any("Traceback" in text for text in said)


@pytest.mark.slow
def test_the_loss_of_one_process_ends_the_other(tiny: Path, tmp_path: Path) -> None:
    with launched(settings(epochs=2000, cache=tmp_path / "cache"), tiny, tmp_path / "two") as (one, other):
        deadline = time.monotonic() + 120
        while _newest_step(tmp_path / "two") < 2:
            assert time.monotonic() < deadline and one.poll() is None
            time.sleep(0.005)
        other.send_signal(signal.SIGKILL)
        _, said = one.communicate(timeout=60)
    assert one.returncode == 1
    assert "A process of this training was lost" in said and "Traceback" not in said


def _newest_step(output: Path) -> int:
    return max((int(path.name.removeprefix("step-")) for path in (output / "checkpoints").glob("step-*")), default=0)


@pytest.mark.parametrize("plugin", ["DEEPSPEED", "FSDP"])
def test_a_launchers_own_sharding_is_refused(plugin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv(f"ACCELERATE_USE_{plugin}", "true")
    with pytest.raises(UserError, match=f"distributed_type {plugin} is not read here.*train.parallel"):
        lead(lambda job, processes: None, "job")


def test_alone_nothing_is_exchanged() -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    ALONE.sum_gradients([parameter])
    assert parameter.grad is None and ALONE.gather(7) == [7] and ALONE.device("cuda") == "cuda"
