"""Trouble on the road: a server that is dead, or dies halfway, costs one clear line and nothing that was paid for."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tests.road.conftest import Server, write_config

from spavl.store import RunDirectory


def build(config: Path) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "spavl", "build", str(config)], capture_output=True, text=True)


def changed(config: Path, base_url: str) -> Path:
    body = yaml.safe_load(config.read_text())
    body["models"]["served"] |= {"base_url": base_url, "retries": 0}
    config.write_text(yaml.safe_dump(body))
    return config


@pytest.mark.slow
def test_a_dead_server_is_one_line_and_exit_code_1(
    tmp_path: Path, server: Server, tiny_folder: Path, picture_folder: Path
) -> None:
    config = changed(write_config(tmp_path / "run.yaml", server, tiny_folder, picture_folder), "http://127.0.0.1:9/v1")
    done = build(config)
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if line.startswith("spavl:")]
    assert len(said) == 1 and "Traceback" not in done.stderr
    assert "127.0.0.1:9" in said[0] and "run the same command again" in said[0]
    assert not (tmp_path / "run" / "questions" / "manifest.json").exists()


@pytest.mark.slow
def test_a_corrupt_picture_is_counted_and_the_rest_goes_on(
    tmp_path: Path, server: Server, tiny_folder: Path, picture_folder: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for path in picture_folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    whole = (picture_folder / "pistol.png").read_bytes()
    (folder / "pistol.png").write_bytes(whole[: len(whole) // 2])
    done = build(write_config(tmp_path / "run.yaml", server, tiny_folder, folder))
    assert done.returncode == 0, done.stderr
    counts = json.loads((tmp_path / "run" / "images" / "manifest.json").read_bytes())["counts"]
    assert counts["by_reason"]["unreadable"] == 1
    assert counts["items"] == counts["records"] + counts["failures"] + counts["dropped"] == 10


@pytest.mark.slow
def test_two_processes_on_one_run_are_one_clear_line(
    tmp_path: Path, server: Server, tiny_folder: Path, picture_folder: Path
) -> None:
    config = write_config(tmp_path / "run.yaml", server, tiny_folder, picture_folder)
    with RunDirectory(tmp_path / "run").locked():
        done = build(config)
    assert done.returncode == 2 and "Another process" in done.stderr
    assert server.requests() == []
