"""The images station as it is used: packaged pictures, packaged sentence encoder, SPA-VL's taxonomy."""

import asyncio
from pathlib import Path

import pytest

from spavl.config import ImagesConfig
from spavl.embedded.sentences import sentence_encoder
from spavl.images import collect
from spavl.records import ImageRecord
from spavl.store import ImageStore, StageDirectory
from spavl.taxonomy import load_taxonomy


@pytest.mark.slow
def test_the_packaged_photographs_find_leaves_by_the_meaning_of_their_captions(tmp_path: Path) -> None:
    """Of the photographs that Python packages carry, a brick wall is nearest to `graffiti on a brick wall` (hate)."""
    config = ImagesConfig(leaves=("hate", "religion", "weapon"), per_leaf=1, min_similarity=0.4)
    stage = StageDirectory(tmp_path / "images", {}, {})
    store = ImageStore(tmp_path / "pictures")
    manifest = asyncio.run(collect(config, load_taxonomy("spa_vl"), stage, store, sentence_encoder().encode))
    assert manifest.counts.records + manifest.counts.dropped == manifest.counts.items >= 13
    taken = {record.leaf.split("/")[-1]: record for record in stage.records(ImageRecord)}
    assert {"hate", "religion"} <= set(taken)
    assert all(store.path(record.sha256).exists() for record in taken.values())
    if manifest.counts.items == 13:  # npm's pictures are not installed
        assert (taken["hate"].caption, taken["religion"].caption) == ("brick wall", "temple")
