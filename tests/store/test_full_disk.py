"""A whole station on a disk that fills up: one line, nothing half written, and the same command finishes later."""

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from spavl.config import FolderSource, ImagesConfig
from spavl.errors import RunError
from spavl.images import collect
from spavl.store import ImageStore, Manifest, StageDirectory
from spavl.taxonomy import Category, Domain, Leaf, Taxonomy

TAXONOMY = Taxonomy("t", "", "", (Domain("d", "d", (Category("c", "c", (Leaf("d", "c", "s", "s", ("bell",)),)),)),))


def all_alike(texts: Sequence[str]) -> npt.NDArray[np.float32]:
    return np.ones((len(texts), 1), dtype=np.float32)


def collected(run: Path, pictures: Path) -> Manifest:
    config = ImagesConfig(source=FolderSource(kind="folder", path=pictures), per_leaf=6)
    stage = StageDirectory(run / "images", {}, {})
    return asyncio.run(collect(config, TAXONOMY, stage, ImageStore(run / "pictures"), all_alike))


def test_a_station_stops_with_one_line_and_the_same_command_finishes_when_there_is_room(
    small_disk: Any, tmp_path: Path
) -> None:
    """Six pictures of noise, 15 KB each stored, do not fit on 64 KiB, nor does one of them into a file of 8 KiB."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for seed in range(6):
        noise = np.random.default_rng(seed).integers(0, 256, (70, 70, 3), dtype=np.uint8)
        Image.fromarray(noise).save(pictures / f"{seed}.gif")
    run = small_disk.path
    with small_disk.short(), pytest.raises(RunError) as caught:
        collected(run, pictures)
    assert "\n" not in str(caught.value)
    assert "No space left on the disk while writing" in str(caught.value)
    assert "run the same command again" in str(caught.value)
    assert not list(run.rglob(".*")), "no temporary file is left"
    for stored in (run / "pictures").rglob("*.png"):
        assert hashlib.sha256(stored.read_bytes()).hexdigest() == stored.stem
    left = len(StageDirectory(run / "images", {}, {}).pending([f"pictures/{seed}.gif" for seed in range(6)]))
    assert left > 0
    resumed = collected(run, pictures)
    assert resumed.counts.records == 6
    assert resumed.results_hash == collected(tmp_path / "whole", pictures).results_hash
