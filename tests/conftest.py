"""What tests of several folders share: a tiny vision-language model with random weights."""

from pathlib import Path

import pytest

from tests.tiny_vlm import build_tiny_vlm


@pytest.fixture(scope="session")
def tiny_vlm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny VLM; read it, do not write to it."""
    return build_tiny_vlm(tmp_path_factory.mktemp("tiny_vlm"))
