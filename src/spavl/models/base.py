"""The one face over every model: requests in, completions or failures out.

A model answers a *group* of requests at once: a server takes groups of one, a local model takes a batch. The group is
part of how a local answer comes to be, so the caller forms it, always the same way (`execution.map_items`).
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict

from spavl.records import Failure, Finish


class ImageInput(BaseModel):
    """A picture to show a model; the digest is its identity, the path only says where it lies now."""

    model_config = ConfigDict(frozen=True)

    sha256: str
    path: Path


class Request(BaseModel):
    """Everything that decides an answer, apart from the model."""

    model_config = ConfigDict(frozen=True)

    prompt: str
    image: ImageInput | None = None
    answered: str = ""
    """What an assistant said to the prompt, for a model whose chat template asks it to judge such a conversation."""
    system: str = ""
    answer_prefix: str = ""
    """The beginning of the answer, given to the model to continue; it is part of the completion's text."""
    max_tokens: int = 64
    temperature: float = 0.0
    """0 is greedy."""
    top_p: float = 1.0
    seed: int = 0

    def identity(self) -> dict[str, Any]:
        """Returns the fields of the call store's key; a picture is its digest, wherever it lies.

        An assistant's turn is a field only where there is one, so that calls stored before it was known stay known.
        """
        fields = {name: getattr(self, name) for name in _KEYED}
        if self.answered:
            fields["answered"] = self.answered
        return fields | {"image": self.image.sha256 if self.image else None}


_KEYED = tuple(name for name in Request.model_fields if name not in ("image", "answered"))
_encode = json.JSONEncoder(sort_keys=True, ensure_ascii=False).encode


class Completion(BaseModel):
    """A model's answer. A refusal or a filter stop is an answer, not a failure."""

    model_config = ConfigDict(frozen=True)

    text: str
    finish: Finish = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0


Reply = Completion | Failure
BYTES_PER_TOKEN = 3
"""Fewer than tokenizers need for most texts, so that estimates err upwards."""
PICTURE_TOKENS = 1500
"""Tokens of a picture, assumed: LLaVA-1.5 makes 576 of one, Qwen-VL some 1,300 of a million pixels."""


class Tokens(NamedTuple):
    """Tokens of one call or of several."""

    prompt: int
    completion: int


def most_tokens(request: Request) -> Tokens:
    """Estimates from above what a call uses, without a tokenizer: the prompt by its length, the answer by its limit."""
    size = len((request.system + request.prompt + request.answer_prefix).encode(errors="replace"))
    return Tokens(-(-size // BYTES_PER_TOKEN) + PICTURE_TOKENS * (request.image is not None), request.max_tokens)


class Model(Protocol):
    """Anything that answers requests."""

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What identifies the model in the call store's key: kind, name, weights."""

    @property
    def group_size(self) -> int:
        """How many requests one call of `generate` should hold."""

    @property
    def concurrency(self) -> int:
        """How many groups may be in flight."""

    async def generate(self, requests: Sequence[Request]) -> list[Reply]:
        """Answers the requests, in order; a request that cannot be answered becomes a `Failure`."""

    async def close(self) -> None:
        """Gives connections and memory back."""


def call_key(fingerprint: dict[str, Any], request: Request) -> str:
    """Returns the content address of one call: SHA-256 over the model's fingerprint and the request's fields."""
    return hashlib.sha256(_encode([fingerprint, request.identity()]).encode()).hexdigest()
