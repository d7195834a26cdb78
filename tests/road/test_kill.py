"""Kill -9 at bad moments: the run goes on where it was, and nothing that was paid for is paid for again."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.road.conftest import CONCURRENCY, Server, write_config

from spavl.pipeline.road import STAGES

CALLING = ("questions", "responses")


def start(config: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "spavl", "run", str(config)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kill_in(stage: Path, config: Path, lines: int) -> bool:
    """Starts the run, kills it once the stage has so many outcomes, and says whether it was still at work.

    With no lines it is killed as soon as the stage is opened.
    """
    process = start(config)
    while process.poll() is None and not reached(stage, lines):
        time.sleep(0.005)
    process.kill()
    process.communicate()
    return process.returncode == -9


def reached(stage: Path, lines: int) -> bool:
    """Says whether the stage has so many outcomes."""
    results = stage / "results.jsonl"
    if not lines:
        return (stage / "identity.json").exists()
    return results.exists() and results.read_bytes().count(b"\n") >= lines


def outcome_files(run: Path) -> dict[str, bytes]:
    names = [f"{stage}/results.jsonl" for stage in STAGES if stage != "train"]
    names += [str(path.relative_to(run)) for path in sorted(run.glob("dataset/data/*.parquet"))]
    return {name: (run / name).read_bytes() for name in names}


@pytest.mark.slow
def test_a_run_killed_in_every_stage_ends_like_one_that_was_not(
    tmp_path: Path, server: Server, tiny_folder: Path, picture_folder: Path
) -> None:
    """The same outcomes and the same dataset, byte for byte.

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
    kills = {stage: kill_in(run / stage, killed, 3 if stage in CALLING else 0) for stage in STAGES}
    assert all(kills[stage] for stage in (*CALLING, "train"))
    out, err = (process := start(killed)).communicate()
    assert process.returncode == 0, err
    assert outcome_files(run) == outcome_files(whole.parent / "run")
    arrived = server.requests()
    assert set(arrived) == set(reference)
    assert len(arrived) - len(set(arrived)) <= CONCURRENCY * len(CALLING)

    server.log.unlink()
    again = start(killed)
    again.communicate()
    assert again.returncode == 0
    assert server.requests() == []
