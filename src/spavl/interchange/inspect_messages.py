"""Requests and completions as Inspect's messages and outputs, and back."""

import base64
import hashlib
import mimetypes
import tempfile
from collections.abc import Sequence
from pathlib import Path

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    ContentImage,
    ContentText,
    GenerateConfig,
    ModelOutput,
    ModelUsage,
    StopReason,
)

from spavl.errors import UserError
from spavl.models.base import Completion, ImageInput, Request
from spavl.records import Finish

_STOPS: dict[Finish, StopReason] = {
    "stop": "stop",
    "length": "max_tokens",
    "content_filter": "content_filter",
    "refusal": "content_filter",
}
_FINISHES: dict[StopReason, Finish] = {
    "max_tokens": "length",
    "model_length": "length",
    "content_filter": "content_filter",
}


def as_messages(request: Request) -> list[ChatMessage]:
    """Returns a request's turns."""
    messages: list[ChatMessage] = [ChatMessageSystem(content=request.system)] if request.system else []
    messages.append(user_message(request.prompt, data_uri(request.image) if request.image else None))
    if request.answered:
        messages.append(ChatMessageAssistant(content=request.answered))
    return messages


def user_message(prompt: str, picture: str | None) -> ChatMessageUser:
    """Returns what a person asks, with the picture, which is a path or a data URI, before the words."""
    if picture is None:
        return ChatMessageUser(content=prompt)
    return ChatMessageUser(content=[ContentImage(image=picture), ContentText(text=prompt)])


def data_uri(image: ImageInput) -> str:
    """Returns a picture that needs no file beside it."""
    kind = mimetypes.guess_type(image.path)[0] or "image/png"
    return f"data:{kind};base64,{base64.b64encode(image.path.read_bytes()).decode()}"


def as_config(request: Request) -> GenerateConfig:
    """Returns how a request is answered."""
    return GenerateConfig(
        max_tokens=request.max_tokens, temperature=request.temperature, top_p=request.top_p, seed=request.seed
    )


def as_completion(output: ModelOutput) -> Completion:
    """Returns what a model of Inspect's said."""
    return Completion(text=output.completion, finish=_FINISHES.get(output.stop_reason, "stop"))


def as_output(model: str, completion: Completion) -> ModelOutput:
    """Returns what a model of ours said."""
    output = ModelOutput.from_content(model, completion.text, _STOPS[completion.finish])
    used, made = completion.prompt_tokens, completion.completion_tokens
    output.usage = ModelUsage(input_tokens=used, output_tokens=made, total_tokens=used + made)
    return output


def as_request(messages: Sequence[ChatMessage], config: GenerateConfig) -> Request:
    """Returns a question of Inspect's as a request.

    Raises:
        UserError: It is a conversation, which our local models do not hold, or shows several pictures.
    """
    turns = [one for one in messages if one.role != "system"]
    pictures = [
        part for one in turns if not isinstance(one.content, str) for part in one.content if part.type == "image"
    ]
    if len(turns) != 1 or turns[0].role != "user" or len(pictures) > 1:
        raise UserError("spavl's local models answer one question about at most one picture. Ask that.")
    return Request(
        prompt=turns[0].text,
        image=_picture(pictures[0].image) if pictures else None,
        system="\n".join(one.text for one in messages if one.role == "system"),
        max_tokens=config.max_tokens or 512,
        temperature=config.temperature or 0.0,
        top_p=1.0 if config.top_p is None else config.top_p,
        seed=config.seed or 0,
    )


def _picture(source: str) -> ImageInput:
    """Returns a picture as a file: our models open files, Inspect hands data URIs or paths."""
    if not source.startswith("data:"):
        path = Path(source)
        return ImageInput(sha256=hashlib.sha256(path.read_bytes()).hexdigest(), path=path)
    content = base64.b64decode(source.partition(",")[2])
    digest = hashlib.sha256(content).hexdigest()
    path = Path(tempfile.gettempdir()) / "spavl_inspect" / f"{digest}.png"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    return ImageInput(sha256=digest, path=path)
