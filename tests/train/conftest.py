"""The tiny model and its pictures, made once for all training tests."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.tiny_vlm import build_tiny_vlm
from tests.train.material import settings, write_pictures

from spavl.config import TrainConfig
from spavl.models.loading import Vlm, load_vlm
from spavl.train.logprobs import Features
from spavl.train.policy import Policy, add_adapters
from spavl.train.render import Renderer
from spavl.train.vision import PictureFeatures


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
    return add_adapters(vlm.model, config.lora, seed=0)


@pytest.fixture
def renderer(vlm: Vlm, policy: Policy) -> Renderer:
    return Renderer(vlm.processor, policy.stop_ids(), max_length=512)


@pytest.fixture
def features(vlm: Vlm, policy: Policy, picture: Callable[[str], Path]) -> Features:
    return PictureFeatures(vlm, picture)
