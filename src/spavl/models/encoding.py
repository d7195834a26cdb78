"""Turns requests into token ids and what shows their pictures; a picture is processed once, whatever is asked of it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from PIL import Image
from torch import Tensor

from spavl.models.base import Request
from spavl.models.loading import Vlm, render_prompt
from spavl.models.prefixes import Prompt

OF_TOKENS = frozenset({"input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids"})
"""What a processor returns beside what shows the picture."""


class Encoded(NamedTuple):
    """Requests as a model takes them in."""

    prompts: list[Prompt]
    pixels: dict[str, dict[str, Tensor]]
    """Picture -> what the processor made of it."""


def rendered(vlm: Vlm, request: Request) -> str:
    """Returns the text that a model reads up to where its answer goes on.

    Raises:
        UserError: The model has no chat template that takes such a request.
    """
    return render_prompt(
        vlm.processor,
        request.prompt,
        has_image=request.image is not None,
        answered=request.answered,
        system=request.system,
        answer_prefix=request.answer_prefix,
    )


def adds_special(vlm: Vlm, text: str) -> bool:
    """Returns whether the tokenizer is to add its own marks: not where the template has set the first one."""
    bos = vlm.processor.tokenizer.bos_token
    return not (bos and text.startswith(bos))


def encode(vlm: Vlm, requests: Sequence[Request], pictures: Mapping[str, Image.Image]) -> Encoded:
    """Encodes requests, in order.

    Args:
        vlm: The model and its processor.
        requests: What is asked.
        pictures: Picture's SHA-256 -> the picture.

    Raises:
        UserError: The model has no chat template that takes such a request.
    """
    encoding = _Encoding(vlm, pictures)
    prompts = [encoding.prompt(request) for request in requests]
    return Encoded(prompts, encoding.pixels)


class _Encoding:
    def __init__(self, vlm: Vlm, pictures: Mapping[str, Image.Image]) -> None:
        self._vlm, self._pictures = vlm, pictures
        self._placeholders: dict[str, str] = {}
        self.pixels: dict[str, dict[str, Tensor]] = {}

    def prompt(self, request: Request) -> Prompt:
        text = rendered(self._vlm, request)
        if request.image is None:
            return Prompt(self._tokens(text))
        picture = request.image.sha256
        if picture in self._placeholders:
            return Prompt(self._tokens(text, self._placeholders[picture]), picture)
        return Prompt(self._process(text, picture), picture)

    def _tokens(self, text: str, placeholder: str | None = None) -> tuple[int, ...]:
        options = {"add_special_tokens": adds_special(self._vlm, text)}
        if placeholder is not None:
            text = placeholder.join(text.split(self._vlm.processor.image_token))
        return tuple(self._vlm.processor.tokenizer(text, **options)["input_ids"])

    def _process(self, text: str, picture: str) -> tuple[int, ...]:
        """Returns the ids of a text with its picture, and keeps what else comes of it."""
        options = {"add_special_tokens": adds_special(self._vlm, text), "return_text_replacement_offsets": True}
        made = self._vlm.processor(text=[text], images=[[self._pictures[picture]]], return_tensors="pt", **options)
        model, ids = self._vlm.model, tuple(made["input_ids"][0].tolist())
        replaced = [one["replacement"] for one in made.pop("text_replacement_offsets", [[]])[0]]
        # a processor that does more than put the placeholder in makes other tokens: it is asked for every row
        if len(replaced) == 1 and self._tokens(text, replaced[0]) == ids:
            self._placeholders[picture] = replaced[0]
        self.pixels[picture] = {
            name: tensor.to(model.device, model.dtype if tensor.is_floating_point() else None)
            for name, tensor in made.items()
            if name not in OF_TOKENS
        }
        return ids
