"""A model that transformers runs in this process, a batch at a time.

The same group of requests always gives the same answers: rows that want the same decoding form one batch, in the order
given, and a sampler is seeded by the whole batch. Rows that share a picture have it read once (`generation.py`). The
weights are loaded at the first request, so a run whose calls are all stored loads nothing. One batch runs at a time, in
a thread of its own.
"""

import asyncio
import contextlib
import functools
import hashlib
import json
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from transformers import GenerationConfig
from transformers.modeling_outputs import BaseModelOutputWithPooling

from spavl.config import HfModelConfig
from spavl.errors import UserError
from spavl.models.base import Completion, ImageInput, Reply, Request
from spavl.models.encoding import adds_special, encode, rendered
from spavl.models.features import FAMILIES, FeatureCache
from spavl.models.generation import Decoding, generate
from spavl.models.loading import Vlm, load_vlm
from spavl.models.prefixes import why_not
from spavl.models.weights import snapshot_folder, weights_digest
from spavl.records import Failure

_log = logging.getLogger(__name__)


class _Kind(NamedTuple):
    """What rows of one batch have in common."""

    has_image: bool
    max_tokens: int
    temperature: float
    top_p: float


class HfModel:
    """A vision-language model from a folder or a hub id.

    Args:
        config: Where it is and how it runs.
        folder: Gives the folder when it is first needed; by default what `config.path` names.
    """

    concurrency = 1

    def __init__(self, config: HfModelConfig, folder: Callable[[], Path] | None = None) -> None:
        self._config = config
        self._folder = folder or functools.partial(snapshot_folder, config)
        self._vlm: Vlm | None = None
        self._plain = ""
        self._features = FeatureCache()
        self._one_at_a_time = threading.Lock()

    @functools.cached_property
    def fingerprint(self) -> dict[str, Any]:
        """The digest of the weights and of what stands beside them; reading it loads nothing.

        Raises:
            UserError: There is no such model.
        """
        return {"kind": "hf", "weights": weights_digest(self._folder()), "dtype": self._config.dtype}

    @property
    def group_size(self) -> int:
        """Requests of one batch."""
        return self._config.batch_size

    async def generate(self, requests: Sequence[Request]) -> list[Reply]:
        """Answers the requests as one group.

        Raises:
            UserError: The model cannot be loaded, or a batch does not fit into the memory.
        """
        return await asyncio.to_thread(self._generate, list(requests))

    async def close(self) -> None:
        """Frees the weights."""
        self._vlm, self._features = None, FeatureCache()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _generate(self, requests: list[Request]) -> list[Reply]:
        pictures = [_open_picture(request.image) for request in requests]
        replies: dict[int, Reply] = {row: one for row, one in enumerate(pictures) if isinstance(one, Failure)}
        kinds: dict[_Kind, list[int]] = {}
        for row, request in enumerate(requests):
            if row not in replies:
                kind = _Kind(request.image is not None, request.max_tokens, request.temperature, request.top_p)
                kinds.setdefault(kind, []).append(row)
        with self._one_at_a_time:
            vlm = self._load()
            with torch.inference_mode():
                for kind, rows in sorted(kinds.items()):
                    shown = [pictures[row] for row in rows]
                    answers = self._answer(vlm, kind, [requests[row] for row in rows], shown)
                    replies |= dict(zip(rows, answers, strict=True))
        return [replies[row] for row in range(len(requests))]

    def _answer(self, vlm: Vlm, kind: _Kind, requests: list[Request], pictures: list[Any]) -> list[Reply]:
        """Answers one batch."""
        try:
            return self._write(vlm, kind, requests, pictures)
        except (RuntimeError, MemoryError) as error:
            raise UserError(
                f"The model failed on a batch of {len(requests)}: {' '.join(str(error).split())[:300]}. "
                "If its memory is full, give it a smaller `batch_size`."
            ) from error

    def _write(self, vlm: Vlm, kind: _Kind, requests: list[Request], pictures: list[Any]) -> list[Reply]:
        if self._plain:
            return _write_plainly(vlm, kind, requests, pictures if kind.has_image else None)
        digests = [request.image.sha256 if request.image else "" for request in requests]
        prompts, pixels = encode(vlm, requests, dict(zip(digests, pictures, strict=True)))
        generator = torch.Generator(vlm.model.device).manual_seed(_seed(requests))
        answers = generate(
            vlm.model,
            prompts,
            lambda picture: self._shown(vlm, picture, pixels[picture]),
            _decoding(vlm, kind),
            generator,
        )
        return [
            _read(vlm, request, (prompt.ids[-1], *answer.tokens), len(prompt.ids))
            for request, prompt, answer in zip(requests, prompts, answers, strict=True)
        ]

    def _shown(self, vlm: Vlm, picture: str, pixels: dict[str, torch.Tensor]) -> dict[str, Any]:
        """Returns what shows a picture; a projected one is kept while the model is open."""
        if vlm.model.config.model_type not in FAMILIES:
            return pixels

        def project() -> list[torch.Tensor]:
            return list(vlm.model.get_image_features(**pixels, return_dict=True).pooler_output)

        features = self._features.get(picture, project)
        return {"mm_encoder_outputs": {"image": BaseModelOutputWithPooling(pooler_output=features)}}

    def _load(self) -> Vlm:
        if self._vlm is None:
            config = self._config
            self._vlm = load_vlm(
                self._folder(), config.dtype, config.device, trust_remote_code=config.trust_remote_code
            )
            self._plain = why_not(self._vlm.model)
            if self._plain:
                _log.warning(
                    "%s: every row reads its own picture (by transformers' `generate`), for %s.",
                    config.path,
                    self._plain,
                )
        return self._vlm


def _open_picture(image: ImageInput | None) -> Image.Image | Failure | None:
    if image is None:
        return None
    try:
        with Image.open(image.path) as opened:
            return opened.convert("RGB")
    except OSError as error:
        return Failure(reason="unreadable_picture", message=f"The picture cannot be read: {error.strerror or error}.")


def _write_plainly(vlm: Vlm, kind: _Kind, requests: list[Request], pictures: list[Image.Image] | None) -> list[Reply]:
    """Answers one batch by transformers alone, padded on the left so that every answer begins at the same place."""
    model, processor = vlm
    texts = [rendered(vlm, request) for request in requests]
    options = {
        "return_tensors": "pt",
        "padding": True,
        "padding_side": "left",
        "add_special_tokens": adds_special(vlm, texts[0]),
    }
    if pictures is None:
        encoded = processor.tokenizer(texts, **options)
    else:
        encoded = processor(text=texts, images=[[picture] for picture in pictures], **options)
    inputs = {
        name: tensor.to(model.device, model.dtype if tensor.is_floating_point() else None)
        for name, tensor in encoded.items()
    }
    begun, lengths = inputs["input_ids"].shape[1], inputs["attention_mask"].sum(dim=1).tolist()
    with _seeded(_seed(requests), model.device):
        output = model.generate(**inputs, generation_config=_generation_config(vlm, kind))  # (B, T)
    return [
        _read(vlm, request, row[begun - 1 :].tolist(), length)
        for request, row, length in zip(requests, output, lengths, strict=True)
    ]


def _decoding(vlm: Vlm, kind: _Kind) -> Decoding:
    penalty = vlm.model.generation_config.repetition_penalty
    return Decoding(
        kind.max_tokens,
        stop_ids=tuple(sorted(_end_tokens(vlm))),
        temperature=kind.temperature,
        top_p=kind.top_p,
        suppressed=_picture_tokens(vlm),
        repetition_penalty=1.0 if penalty is None else penalty,
    )


def _generation_config(vlm: Vlm, kind: _Kind) -> GenerationConfig:
    """Returns the settings of one batch; what the model's own file says beyond them stays as it is."""
    sampling = {"temperature": kind.temperature, "top_p": kind.top_p, "top_k": 0} if kind.temperature else {}
    return GenerationConfig(
        max_new_tokens=kind.max_tokens,
        do_sample=kind.temperature > 0,
        eos_token_id=sorted(_end_tokens(vlm)),
        pad_token_id=vlm.processor.tokenizer.pad_token_id,
        suppress_tokens=list(_picture_tokens(vlm)) or None,
        **sampling,
    )


def _picture_tokens(vlm: Vlm) -> tuple[int, ...]:
    """Returns the token that stands for a piece of a picture, which no answer may hold."""
    image_token = getattr(vlm.model.config, "image_token_id", None)
    return () if image_token is None else (image_token,)


def _end_tokens(vlm: Vlm) -> set[int]:
    own = vlm.model.generation_config.eos_token_id
    listed = own if isinstance(own, list) else [own]
    return {token for token in (*listed, vlm.processor.tokenizer.eos_token_id) if token is not None}


def _read(vlm: Vlm, request: Request, tokens: Sequence[int], prompt_tokens: int) -> Completion:
    """Reads one row from its prompt's last token on: a tokenizer may write a first token without its leading space."""
    decode = functools.partial(vlm.processor.tokenizer.decode, skip_special_tokens=True)
    last, generated = tokens[0], tokens[1:]
    ends = _end_tokens(vlm)
    end = next((place for place, token in enumerate(generated) if token in ends), None)
    text = decode([last, *generated[:end]]).removeprefix(decode([last]))
    return Completion(
        text=(request.answer_prefix + text).strip() if text.strip() else "",
        finish="length" if end is None else "stop",
        prompt_tokens=prompt_tokens,
        completion_tokens=len(generated) if end is None else end + 1,
    )


def _seed(requests: list[Request]) -> int:
    """Returns a seed that all the requests of a batch decide together."""
    identities = json.dumps([request.identity() for request in requests], sort_keys=True)
    return int.from_bytes(hashlib.sha256(identities.encode()).digest()[:8], "big") % 2**63


@contextlib.contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seeds torch's own generators and leaves them as they were: transformers' `generate` takes no other."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
