"""`spavl train` in two processes, as `accelerate launch` starts it: one walks the road, both train, one speaks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.road.conftest import Server, write_config

ROOT = Path(__file__).parents[2]
TWO = ("-m", "accelerate.commands.launch", "--config_file", str(ROOT / "configs/accelerate/2cpu.yaml"))
PATIENCE_S = 240


def spavl(*arguments: str, launcher: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *launcher, "-m", "spavl", *arguments]
    return subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@pytest.mark.slow
def test_a_launched_training_is_one_run(
    tmp_path: Path, server: Server, tiny_folder: Path, picture_folder: Path
) -> None:
    """Built alone, trained by two, and asked for once more, when there is nothing left to train."""
    config = str(write_config(tmp_path / "run.yaml", server, tiny_folder, picture_folder))
    assert spavl("build", config).returncode == 0
    trained = spavl("train", config, "train.parallel=zero3", "--json", launcher=TWO)
    assert trained.returncode == 0, trained.stderr
    assert json.loads(trained.stdout)["counts"]["train"]["records"] == 1
    result = json.loads((tmp_path / "run" / "train" / "train.json").read_bytes())["result"]
    assert result["steps"] >= 2 and (tmp_path / "run" / "train" / "model").is_dir()
    again = spavl("train", config, "train.parallel=zero3", "--json", launcher=TWO)
    assert again.returncode == 0 and json.loads(again.stdout) == json.loads(trained.stdout)
