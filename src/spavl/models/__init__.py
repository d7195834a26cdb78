"""Vision-language models with one face: servers, local weights, and the embedded one; every call is stored.

Importing this package does not import torch; a local model's code is loaded when the model is opened.
"""

from spavl.models.account import Spent, cost
from spavl.models.base import Completion, ImageInput, Model, Reply, Request, Tokens, call_key, most_tokens
from spavl.models.call_store import CallStore, StoredModel
from spavl.models.opening import (
    Models,
    local_folder,
    open_caption_scorer,
    open_models,
    open_picture_classifier,
    open_text_reader,
    picture_models_fingerprint,
)
from spavl.models.replay import Replay

__all__ = [
    "CallStore",
    "Completion",
    "ImageInput",
    "Model",
    "Models",
    "Replay",
    "Reply",
    "Request",
    "Spent",
    "StoredModel",
    "Tokens",
    "call_key",
    "cost",
    "local_folder",
    "most_tokens",
    "open_caption_scorer",
    "open_models",
    "open_picture_classifier",
    "open_text_reader",
    "picture_models_fingerprint",
]
