"""The tiny model and its pictures, made once for all training tests."""

from collections.abc import Callable
from pathlib import Path

import pytest

from spavl.config import TrainConfig
from spavl.train.logprobs import Features
from spavl.train.policy import Policy, load_policy
from spavl.train.render import Renderer
from spavl.train.vision import PictureFeatures
from spavl.train.weights import load_processor
from tests.tiny_vlm import build_tiny_vlm
from tests.train.material import settings, write_pictures


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
def policy(tiny: Path, config: TrainConfig) -> Policy:
    return load_policy(tiny, config, seed=0)


@pytest.fixture
def renderer(tiny: Path, policy: Policy) -> Renderer:
    return Renderer(load_processor(tiny), policy.stop_ids(), max_length=512)


@pytest.fixture
def features(tiny: Path, policy: Policy, picture: Callable[[str], Path]) -> Features:
    return PictureFeatures(policy.vlm, load_processor(tiny), picture)
