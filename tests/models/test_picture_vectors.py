"""Vision encoders: unit vectors, in order, whatever can be read."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.dataset.pictures_for_copies import edited, encoded, scene
from transformers import CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModel

from spavl.errors import UserError
from spavl.models.picture_vectors import picture_encoder


def test_the_packaged_encoder_finds_a_mirrored_copy_nearer_than_another_picture() -> None:
    """What cannot be read is zeros, near nothing."""
    contents = [encoded(scene(0)), b"no picture", encoded(scene(1)), edited(scene(0), "mirrored")]
    vectors = picture_encoder("packaged")(contents)
    assert vectors.shape == (4, 1280)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 0, 1, 1], abs=1e-5)
    cosines = vectors @ vectors[0]
    assert cosines[3] > cosines[2] and cosines[3] > 0.85 and cosines[1] == 0


def test_any_vision_model_in_the_hubs_layout_encodes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    CLIPVisionModel(CLIPVisionConfig(**shape, image_size=16, patch_size=8)).save_pretrained(tmp_path)
    CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size=16).save_pretrained(tmp_path)
    vectors = picture_encoder(str(tmp_path))([encoded(scene(0)), encoded(scene(1))])
    assert vectors.shape == (2, 8)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1], abs=1e-5)


def test_a_folder_that_is_no_encoder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--encoder") as raised:
        picture_encoder(str(tmp_path))
    assert str(tmp_path) in str(raised.value)
