"""The chat-completions format: a request as the bytes that are sent, a reply's bytes as a completion.

Pure but for reading the picture. It does not know connections, retries or keys. An answer that was begun is given as
vLLM's `continue_final_message`; a model's `prefill` says whether its server knows the field.
"""

import functools
import json
import mimetypes
from base64 import b64encode
from http import HTTPStatus
from typing import Any

import orjson
from pydantic import BaseModel, Field, ValidationError

from spavl.models.base import Completion, ImageInput, Reply, Request
from spavl.records import Failure, Finish
from spavl.texts.visible import whole

PICTURES_KEPT = 64
"""Encoded pictures in memory; requests about one picture come together, so few are enough."""

FILTER_CODES = frozenset({"content_filter", "content_policy_violation", "data_inspection_failed"})
"""Codes of an HTTP 400 that means: the provider's filter stopped this request."""

_FINISHES: dict[str | None, Finish] = {
    None: "stop",
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "length": "length",
    "max_tokens": "length",
    "content_filter": "content_filter",
    "safety": "content_filter",
    "refusal": "refusal",
}


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Usage(BaseModel):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _ChatReply(BaseModel):
    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None


class _ErrorDetail(BaseModel):
    message: str = ""
    code: str | int | None = None


class _ErrorReply(BaseModel):
    error: _ErrorDetail


def request_body(model: str, request: Request, length_field: str = "max_tokens") -> bytes:
    """Returns the JSON body of a request.

    Args:
        model: The model's name at the server.
        request: What is asked.
        length_field: What the server calls the longest answer.

    Raises:
        OSError: The picture cannot be read.
    """
    user: Any = request.prompt
    if request.image is not None:
        picture = {"type": "image_url", "image_url": {"url": encoded_picture(request.image)}}
        user = [picture, {"type": "text", "text": request.prompt}]
    messages = [{"role": "user", "content": user}]
    if request.answered:
        messages.append({"role": "assistant", "content": request.answered})
    if request.system:
        messages.insert(0, {"role": "system", "content": request.system})
    body: dict[str, Any] = {
        "model": model,
        "messages": messages,
        length_field: request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": request.seed,
    }
    if request.answer_prefix:
        messages.append({"role": "assistant", "content": request.answer_prefix})
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    return orjson.dumps(body)


@functools.lru_cache(maxsize=PICTURES_KEPT)
def encoded_picture(image: ImageInput) -> orjson.Fragment:
    """Returns the picture as a data URI, already as JSON, so that it is encoded once for all questions about it.

    Raises:
        OSError: The picture cannot be read.
    """
    return orjson.Fragment(b'"data:%s;base64,%s"' % (_kind(image.path.suffix), b64encode(image.path.read_bytes())))


@functools.cache
def _kind(suffix: str) -> bytes:
    return (mimetypes.guess_type(f"picture{suffix}")[0] or "image/png").encode()


def read_reply(content: bytes, answer_prefix: str = "") -> Reply:
    """Returns what a successful reply says.

    A filter stop, a refusal and an answer without a word are completions too: they were given, and may have been paid.
    """
    try:
        reply = _parsed(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        return _bad_reply(f"{where}: {first['msg']}".removeprefix(": "))
    choice, usage = reply.choices[0], reply.usage or _Usage()
    if choice.finish_reason not in _FINISHES:
        return _bad_reply(f"finish_reason is {choice.finish_reason!r}")
    finish = "refusal" if choice.message.refusal else _FINISHES[choice.finish_reason]
    text = whole(choice.message.refusal or choice.message.content or "")
    if finish in ("stop", "length"):
        written = text.removeprefix(answer_prefix)  # llama.cpp repeats what was begun, vLLM does not
        text = answer_prefix + written if written.strip() else ""
    return Completion(
        text=text.strip(),
        finish=finish,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
    )


def _parsed(content: bytes) -> _ChatReply:
    """Returns a reply; half a character, as in an emoji that the token limit cut, is read, where pydantic refuses it.

    Raises:
        ValidationError: It is no chat completion.
    """
    try:
        return _ChatReply.model_validate_json(content)
    except ValidationError as error:
        try:
            body = json.loads(content)
        except (ValueError, RecursionError):
            raise error from None
        return _ChatReply.model_validate(body)


def read_refused_request(content: bytes) -> tuple[str, bool]:
    """Returns what an unsuccessful reply says, and whether it was the provider's filter that said it."""
    try:
        detail = _ErrorReply.model_validate_json(content).error
    except ValidationError:
        return " ".join(content[:400].decode(errors="replace").split()), False
    return " ".join(detail.message.split()), detail.code in FILTER_CODES


def error_status(content: bytes) -> int | None:
    """Returns the HTTP status that a body stands for which is an error and came with status 200; None for another."""
    try:
        code = _ErrorReply.model_validate_json(content).error.code
    except ValidationError:
        return None
    if isinstance(code, int) and code >= HTTPStatus.BAD_REQUEST:
        return code
    return HTTPStatus.BAD_REQUEST if code in FILTER_CODES else HTTPStatus.INTERNAL_SERVER_ERROR


def _bad_reply(message: str) -> Failure:
    return Failure(reason="bad_reply", message=f"The server's reply is no chat completion: {message}.", transient=True)
