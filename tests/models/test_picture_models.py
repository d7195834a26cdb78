"""Models that look at pictures, with tiny random weights: what they say, and which folders are refused."""

import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tests.tiny_picture_models import build_classifier, build_clip
from transformers import (
    AutoTokenizer,
    CLIPImageProcessorPil,
    CLIPModel,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
    ViTModel,
)

from spavl.errors import UserError
from spavl.image_config import CaptionMatchConfig, ExplicitConfig, ImagesConfig, PictureTextConfig
from spavl.models import (
    open_caption_scorer,
    open_picture_classifier,
    open_text_reader,
    picture_models_fingerprint,
)

RED = Image.new("RGB", (40, 30), "red")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_classifier(tmp_path_factory.mktemp("classifier"), ("harmless", "bare", "gore"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_clip(tmp_path_factory.mktemp("clip"))


def explicit(path: Path, *labels: str) -> ExplicitConfig:
    return ExplicitConfig(path=str(path), labels=labels)


def logits(folder: Path) -> torch.Tensor:
    """What transformers itself makes of the red picture."""
    pixels = ViTImageProcessorPil.from_pretrained(folder)(RED, return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        return ViTForImageClassification.from_pretrained(folder)(pixels).logits[0]


def test_a_classifiers_score_is_the_probability_of_its_labels_together(classifier: Path) -> None:
    _, bare, gore = logits(classifier).softmax(0).tolist()
    assert open_picture_classifier(explicit(classifier, "bare", "gore")).score(RED) == pytest.approx(bare + gore)
    assert open_picture_classifier(explicit(classifier, "gore")).score(RED) == pytest.approx(gore)


def test_where_labels_go_together_the_likeliest_counts(tmp_path: Path) -> None:
    folder = build_classifier(tmp_path, ("bare", "gore"), "multi_label_classification")
    score = open_picture_classifier(explicit(folder, "bare", "gore")).score(RED)
    assert score == pytest.approx(float(logits(folder).sigmoid().max()))


def test_a_caption_score_is_the_cosine_of_both_vectors_and_long_captions_are_cut(clip: Path) -> None:
    """Worked with transformers' own forward pass, whose embeddings are scaled to length one; 32 tokens are read."""
    scorer, long = open_caption_scorer(CaptionMatchConfig(path=str(clip))), "red apple " * 20
    model = CLIPModel.from_pretrained(clip).eval()
    padded = {"padding": "max_length", "max_length": 32, "return_tensors": "pt"}
    tokens = AutoTokenizer.from_pretrained(clip)(["red apple"], **padded)
    pixels = CLIPImageProcessorPil.from_pretrained(clip)(RED, return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        out = model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"], pixel_values=pixels)
    score = scorer.score(RED, "red apple")
    assert score == pytest.approx(float((out.image_embeds * out.text_embeds).sum()), abs=1e-5)
    assert scorer.score(RED, long) == scorer.score(RED, long[:32])
    assert scorer.score(RED, "a bell") != score


def test_a_label_that_is_not_there_is_refused_with_those_that_are(classifier: Path) -> None:
    with pytest.raises(UserError, match=r"images\.explicit\.labels: .* no label 'nsfw'; it has harmless, bare, gore\."):
        open_picture_classifier(explicit(classifier, "nsfw"))


def test_a_model_that_compares_nothing_is_refused(classifier: Path, tmp_path: Path) -> None:
    ViTModel(ViTConfig.from_pretrained(classifier)).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"images\.caption_match\.path: .* a ViTModel, which does not compare"):
        open_caption_scorer(CaptionMatchConfig(path=str(tmp_path)))


def test_weights_that_are_pickled_or_not_all_there_are_refused(classifier: Path, tmp_path: Path) -> None:
    for path in classifier.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    save_file(
        {name: weight for name, weight in weights.items() if name != "classifier.bias"}, tmp_path / "model.safetensors"
    )
    with pytest.raises(UserError, match=r"lacks 1 weights of its model, the first is classifier\.bias"):
        open_picture_classifier(explicit(tmp_path, "gore"))
    (tmp_path / "model.safetensors").unlink()
    torch.save(weights, tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"^images\.explicit\.path: .* needs config\.json and \*\.safetensors"):
        open_picture_classifier(explicit(tmp_path, "gore"))


def test_the_fingerprint_follows_the_weights(classifier: Path, clip: Path) -> None:
    assert picture_models_fingerprint(ImagesConfig()) == {}
    config = ImagesConfig(explicit=explicit(classifier, "gore"), caption_match=CaptionMatchConfig(path=str(clip)))
    found = picture_models_fingerprint(config)
    assert found.keys() == {"caption_match", "explicit"} and found["caption_match"] != found["explicit"]


def test_without_the_reader_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    monkeypatch.delitem(sys.modules, "spavl.models.picture_text", raising=False)
    for ask in (open_text_reader, lambda: picture_models_fingerprint(ImagesConfig(text=PictureTextConfig()))):
        with pytest.raises(UserError, match=r"images\.text needs .*pip install 'spavl\[ocr\]'"):
            ask()
