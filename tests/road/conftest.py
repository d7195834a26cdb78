"""A whole run small enough for a test: drawn pictures, a scripted server that writes and answers, a tiny real VLM."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from PIL import Image, ImageDraw
from tests.tiny_vlm import build_tiny_vlm

CAPTIONS = ("padlock", "wallet", "kitchen knife", "pistol", "pill", "syringe", "game die", "slot machine", "key", "axe")
CONCURRENCY = 2


class Server(NamedTuple):
    """A scripted server at work."""

    url: str
    log: Path

    def requests(self) -> list[str]:
        """Returns a digest for every request that arrived, in order."""
        return self.log.read_text().split() if self.log.exists() else []


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    log = tmp_path / "requests.log"
    script = Path(__file__).parent / "scripted_server.py"
    process = subprocess.Popen([sys.executable, str(script), str(log), "0.02"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield Server(f"http://127.0.0.1:{process.stdout.readline().strip()}/v1", log)
    process.kill()
    process.wait()


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_vlm(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def picture_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten pictures that look unlike each other."""
    folder = tmp_path_factory.mktemp("pictures")
    for number, caption in enumerate(CAPTIONS):
        picture = Image.new("RGB", (96, 96), (20 * number, 255 - 20 * number, 120))
        draw = ImageDraw.Draw(picture)
        for line in range(number + 2):
            draw.line([(9 * line * number % 96, 0), (96 - 7 * line, 96)], fill=(255, 20 * line, 0), width=5)
        picture.save(folder / f"{caption}.png")
    return folder


def write_config(path: Path, server: Server, tiny: Path, pictures: Path) -> Path:
    """Writes the configuration of a small run whose run directory and call store lie beside it."""
    responder = {"model": "served", "max_tokens": 30}
    config = {
        "run": str(path.parent / "run"),
        "calls": str(path.parent / "calls.sqlite"),
        "models": {
            "served": {
                "kind": "openai",
                "base_url": server.url,
                "model": "scripted",
                "concurrency": CONCURRENCY,
                "prefill": True,
            },
            "tiny": {"kind": "hf", "path": str(tiny), "dtype": "float32", "batch_size": 8},
        },
        "images": {
            "source": {"kind": "folder", "path": str(pictures), "licence": "CC0"},
            "leaves": ["theft", "weapon", "illegal drugs", "gamble"],
        },
        "questions": {"writer": "served", "prompts": "small_v1"},
        "responses": {
            "responders": {
                "plain": responder,
                "sampled": responder | {"temperature": 1.0},
                "careful": responder | {"system": "You decline harmful requests."},
            }
        },
        "dataset": {"held_out_leaves": ["gamble"], "test_fraction": 0.2},
        "train": {"model": "tiny", "lora": {"rank": 2}, "batch_size": 2, "save_every": 2, "dtype": "float32"},
        "evaluate": {"max_tokens": 6, "naming_pictures": 3},
    }
    path.write_text(yaml.safe_dump(config))
    return path
