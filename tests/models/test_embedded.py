"""The embedded model: opened without being built, and loaded with a tower that transformers does not know."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from transformers import AutoProcessor, CLIPImageProcessorPil, LlavaConfig, LlavaForConditionalGeneration

from spavl.config import EmbeddedModelConfig
from spavl.embedded.assembly import CACHE_VARIABLE
from spavl.embedded.tower import EfficientNetLiteConfig
from spavl.models import Completion, ImageInput, Request
from spavl.models.embedded import EmbeddedModel

LOAD = """
import sys
from pathlib import Path
from spavl.models.loading import load_vlm
print(type(load_vlm(Path(sys.argv[1])).model.model.vision_tower).__name__)
"""


def test_opening_the_embedded_model_builds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    model = EmbeddedModel(EmbeddedModelConfig(batch_size=5))
    assert (model.group_size, model.concurrency) == (5, 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_checkpoint_with_our_own_tower_loads_by_its_folder_alone(tiny_vlm: Path, tmp_path: Path) -> None:
    """An aligned copy of the embedded model is opened as kind `hf`, in a process that imported no tower."""
    tiny = LlavaConfig.from_pretrained(tiny_vlm)
    tower = EfficientNetLiteConfig()
    config = LlavaConfig(
        vision_config=tower.to_dict(),
        text_config=tiny.text_config,
        image_token_index=tiny.image_token_id,
        image_seq_length=tower.grid_size**2,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
    )
    LlavaForConditionalGeneration(config).save_pretrained(tmp_path)
    processor = AutoProcessor.from_pretrained(tiny_vlm)
    processor.image_processor = CLIPImageProcessorPil(size={"height": 224, "width": 224}, do_center_crop=False)
    processor.save_pretrained(tmp_path)
    done = subprocess.run([sys.executable, "-c", LOAD, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "EfficientNetLiteTower", done.stderr


@pytest.mark.slow
def test_the_embedded_model_answers_about_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "red.png"
    Image.new("RGB", (64, 64), "red").save(path)
    model = EmbeddedModel(EmbeddedModelConfig())
    request = Request(prompt="What is in this picture?", image=ImageInput(sha256="red", path=path), max_tokens=8)
    (reply,) = asyncio.run(model.generate([request]))
    assert isinstance(reply, Completion)
    assert reply.completion_tokens > 0
    assert model.fingerprint["kind"] == "embedded"
