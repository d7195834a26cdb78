"""The embedded model: a small picture-and-text model, a text model and a sentence encoder.

All three come from installed packages and a trained delta in this folder; nothing is downloaded. The names below are
looked up when they are used, so that importing `naming` or `pictures` does not load torch. The sentence encoder is in
`sentences`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spavl.embedded.assembly import mini_vlm_folder, text_model_file

__all__ = ["mini_vlm_folder", "text_model_file"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the assembly calls by that name
    if name in __all__:
        return getattr(import_module("spavl.embedded.assembly"), name)
    raise AttributeError(f"module 'spavl.embedded' has no attribute {name!r}")
