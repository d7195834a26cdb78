"""The tiny model and its pictures, made once for all training tests."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.store.conftest import small_disk
from tests.tiny_vlm import build_tiny_vlm
from tests.train.material import open_engine, settings, write_pictures

from spavl.config import TrainConfig
from spavl.models.loading import Vlm, load_vlm
from spavl.train.engine import Engine
from spavl.train.families import family_of
from spavl.train.policy import Policy, open_policy
from spavl.train.render import Renderer, stop_ids

__all__ = ["small_disk"]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_vlm(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def config() -> TrainConfig:
    return settings()


@pytest.fixture
def vlm(tiny: Path) -> Vlm:
    return load_vlm(tiny)


@pytest.fixture
def policy(vlm: Vlm, config: TrainConfig) -> Policy:
    return open_policy(vlm, family_of(vlm.model), config, seed=0)


@pytest.fixture
def renderer(vlm: Vlm) -> Renderer:
    return Renderer(vlm.processor, stop_ids(vlm.model))


@pytest.fixture
def engine(vlm: Vlm, picture: Callable[[str], Path]) -> Engine:
    return open_engine(vlm, picture)
