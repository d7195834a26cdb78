"""Kill -9 at bad moments: the run goes on where it was, and nothing that was paid for is paid for again."""

import hashlib
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.road.conftest import CONCURRENCY, Server, write_config

from spavl.pipeline.road import STAGES

CALLING = ("questions", "responses")
"""Stages that call the server."""
OUTCOMES = {"questions": 3, "responses": 3, "answers": 1}
"""Stage that asks a model -> outcomes after which it is killed, long before its end."""
LONG = (*OUTCOMES, "train")
"""Stages that last long enough to be killed for certain; the others are killed if they can be caught."""
PATIENCE_S = 120


def start(config: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "spavl", "run", str(config)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kill_in(stage: Path, config: Path) -> bool:
    """Starts the run, kills it in the middle of the stage, and says whether the stage was still at work."""
    process = start(config)
    deadline = time.monotonic() + PATIENCE_S
    while process.poll() is None and not under_way(stage) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.kill()
    process.communicate()
    return process.returncode == -9 and under_way(stage) and not (stage / "manifest.json").exists()


def under_way(stage: Path) -> bool:
    """Says whether a stage has its first outcomes or, where it is short, is opened; for training: a checkpoint."""
    if stage.name == "train":
        return any(stage.glob("checkpoints/step-*"))
    if stage.name not in OUTCOMES:
        return (stage / "identity.json").exists()
    results = stage / "results.jsonl"
    return results.exists() and results.read_bytes().count(b"\n") >= OUTCOMES[stage.name]


def made(run: Path) -> dict[str, str]:
    """Returns file -> SHA-256: every stage's outcomes, the dataset, the trained weights."""
    files = [run / stage / "results.jsonl" for stage in STAGES]
    for pattern in ("dataset/data/*.parquet", "train/model/*.safetensors"):
        files += (found := sorted(run.glob(pattern)))
        assert found, pattern
    return {str(file.relative_to(run)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.mark.slow
def test_a_run_killed_in_every_stage_ends_like_one_that_was_not(
    tmp_path: Path, server: Server, tiny_folder: Path, picture_folder: Path
) -> None:
    """The same outcomes, the same dataset and the same trained weights, byte for byte.

    Of the calls, only those in flight when the process died can arrive at the server a second time: at most
    `CONCURRENCY` for each kill in a stage that calls.
    """
    for name in ("killed", "whole"):
        (tmp_path / name).mkdir()
    whole = write_config(tmp_path / "whole" / "run.yaml", server, tiny_folder, picture_folder)
    out, err = (process := start(whole)).communicate()
    assert process.returncode == 0, err
    assert "report" in out
    reference = server.requests()
    assert len(reference) == len(set(reference)) > 50
    server.log.unlink()

    killed = write_config(tmp_path / "killed" / "run.yaml", server, tiny_folder, picture_folder)
    run = killed.parent / "run"
    kills = {stage: kill_in(run / stage, killed) for stage in STAGES}
    assert [stage for stage in LONG if not kills[stage]] == []
    out, err = (process := start(killed)).communicate()
    assert process.returncode == 0, err
    assert made(run) == made(whole.parent / "run")
    arrived = server.requests()
    assert set(arrived) == set(reference)
    assert len(arrived) - len(set(arrived)) <= CONCURRENCY * len(CALLING)

    server.log.unlink()
    again = start(killed)
    again.communicate()
    assert again.returncode == 0
    assert server.requests() == []
