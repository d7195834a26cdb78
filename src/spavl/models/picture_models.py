"""Models that look at one picture and write nothing: how well it matches a text, and which of its labels fit it.

As for vision-language models, weights are safetensors and complete, and no code from a model's folder runs. A picture
passes a model alone, so a figure does not depend on the pictures beside it.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModel, AutoModelForImageClassification, AutoTokenizer

from spavl.config import HfModelConfig
from spavl.errors import UserError
from spavl.image_config import CaptionMatchConfig, ExplicitConfig, PictureModelConfig
from spavl.models.loading import load_part, load_picture_model
from spavl.models.weights import snapshot_folder, weights_digest

MATCH_FIELD, EXPLICIT_FIELD = "images.caption_match.path", "images.explicit.path"


class CaptionScorer:
    """A model of CLIP's kind: one vector for a picture, one for a text.

    Args:
        config: Where it is.

    Raises:
        UserError: There is no such model, or it does not turn pictures and texts into vectors.
    """

    def __init__(self, config: CaptionMatchConfig) -> None:
        folder = _checked(config).folder
        self._device = config.device
        self._model = load_picture_model(AutoModel, folder, config.device, MATCH_FIELD)
        if not hasattr(self._model, "get_image_features") or not hasattr(self._model, "get_text_features"):
            raise UserError(
                f"{MATCH_FIELD}: {config.path} holds a {type(self._model).__name__}, which does not compare pictures "
                "with texts. Give a model of CLIP's kind."
            )
        self._processor = load_part(AutoImageProcessor, folder, MATCH_FIELD)
        self._tokenizer = load_part(AutoTokenizer, folder, MATCH_FIELD)
        self._longest = int(self._model.config.text_config.max_position_embeddings)

    @torch.inference_mode()
    def score(self, picture: Image.Image, text: str) -> float:
        """Returns the cosine similarity of a picture and a text, of which as much is read as the model takes."""
        length = {"padding": "max_length", "truncation": True, "max_length": self._longest}
        tokens = self._tokenizer([text], return_tensors="pt", **length).to(self._device)
        pixels = self._processor(picture, return_tensors="pt")["pixel_values"].to(self._device)
        shown = self._model.get_image_features(pixel_values=pixels).pooler_output  # (1, D)
        said = self._model.get_text_features(**tokens).pooler_output  # (1, D)
        return float(torch.nn.functional.cosine_similarity(shown, said))


class PictureClassifier:
    """An image classifier, of which some labels are looked for.

    Args:
        config: Where it is, and its labels.

    Raises:
        UserError: There is no such model, or it lacks a label.
    """

    def __init__(self, config: ExplicitConfig) -> None:
        folder = _checked(config).folder
        self._device = config.device
        self._model = load_picture_model(AutoModelForImageClassification, folder, config.device, EXPLICIT_FIELD)
        self._processor = load_part(AutoImageProcessor, folder, EXPLICIT_FIELD)
        places = {name: int(place) for place, name in self._model.config.id2label.items()}
        for label in config.labels:
            if label not in places:
                raise UserError(
                    f"images.explicit.labels: {config.path} has no label '{label}'; it has {', '.join(places)}."
                )
        self._places = sorted({places[label] for label in config.labels})

    @torch.inference_mode()
    def score(self, picture: Image.Image) -> float:
        """Returns the labels' probability together; of a model whose labels go together, that of the likeliest."""
        pixels = self._processor(picture, return_tensors="pt")["pixel_values"].to(self._device)
        logits = self._model(pixel_values=pixels).logits[0]  # (labels,)
        if self._model.config.problem_type == "multi_label_classification":
            return float(logits.sigmoid()[self._places].max())
        return float(logits.softmax(0)[self._places].sum().clamp(max=1))


def digest_of_picture_model(config: PictureModelConfig) -> str:
    """Returns the SHA-256 of the files that decide what a model says; reading them loads nothing.

    Raises:
        UserError: There is no such model, or its weights are not safetensors.
    """
    return _checked(config).digest


class _Checked(NamedTuple):
    folder: Path
    digest: str


def _checked(config: PictureModelConfig) -> _Checked:
    field = "images.caption_match" if isinstance(config, CaptionMatchConfig) else "images.explicit"
    try:
        folder = snapshot_folder(HfModelConfig(kind="hf", path=config.path, revision=config.revision))
        return _Checked(folder, weights_digest(folder))
    except UserError as error:
        raise UserError(f"{field}.{error}") from error  # which begins with `path: `
