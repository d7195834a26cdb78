"""`spavl train` in two processes, as `accelerate launch` and `torchrun` start it: one walks, both train, one speaks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tests.dataset.preference_rows import spa_vl_row, write_rows
from tests.road.conftest import Server, write_config

ROOT = Path(__file__).parents[2]
TWO = ("-m", "accelerate.commands.launch", "--config_file", str(ROOT / "configs/accelerate/2cpu.yaml"))
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
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
    """Built alone, trained by two, and asked for once more, when there is nothing left to train.

    An attempt with a target that matches nothing comes first: it does not bind the stage to its settings.
    """
    config = str(write_config(tmp_path / "run.yaml", server, tiny_folder, picture_folder))
    assert spavl("build", config).returncode == 0
    refused = spavl("train", config, "train.lora.targets=[no_proj]")
    assert refused.returncode == 2 and "train.lora.targets" in refused.stderr
    trained = spavl("train", config, "train.parallel=zero3", "--json", launcher=TWO)
    assert trained.returncode == 0, trained.stderr
    assert json.loads(trained.stdout)["counts"]["train"]["records"] == 1
    result = json.loads((tmp_path / "run" / "train" / "train.json").read_bytes())["result"]
    assert result["steps"] >= 2 and result["processes"] == 2 and (tmp_path / "run" / "train" / "model").is_dir()
    again = spavl("train", config, "train.parallel=zero3", "--json", launcher=TWO)
    assert again.returncode == 0 and json.loads(again.stdout) == json.loads(trained.stdout)


@pytest.mark.slow
def test_a_launched_recipe_has_the_losses_of_one_process(tmp_path: Path, tiny_folder: Path) -> None:
    """Five rows about three pictures in batches of 2: three steps; the last one leaves a process idle."""
    data = write_rows(tmp_path / "data", [spa_vl_row(number) for number in range(5)])
    body = {
        "run": str(tmp_path / "alone"),
        "model": {"kind": "hf", "path": str(tiny_folder)},
        "data": {"path": str(data)},
        "train": {"batch_size": 2, "dtype": "float32", "cache": str(tmp_path / "cache"), "learning_rate": 1e-3},
    }
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(body))
    alone = spavl("train", str(recipe))
    assert alone.returncode == 0, alone.stderr
    other = (f"run={tmp_path / 'two'}", f"train.cache={tmp_path / 'other_cache'}")
    two = spavl("train", str(recipe), *other, "--json", launcher=TORCHRUN)
    assert two.returncode == 0, two.stderr
    assert json.loads(two.stdout)["counts"]["pairs"]["records"] == 5
    losses, others = (_losses(tmp_path / name) for name in ("alone", "two"))
    assert len(losses) == 3 and len(set(losses)) == 3
    assert others == pytest.approx(losses, rel=0, abs=1e-5)


def _losses(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "train" / "metrics.jsonl").read_bytes().splitlines()]
