"""Reads what a server sampled: what training could not learn from is a stop that names it, before anything is kept.

A server is trusted with nothing: ids have to be of the model's vocabulary and none that stands for a picture, within
the limit, with nothing behind an end, and the prompt that it read has to be the one that training reads.
"""

from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from spavl.errors import RunError
from spavl.models.generation import Generated
from spavl.train.render import Row

NEXT = "What was done before is kept: mend the server and run the same command again."


class Unfinished(RunError):
    """The server gave an answer up; asked again it may not."""


class _Choice(BaseModel):
    model_config = ConfigDict(extra="ignore")

    token_ids: list[int] | None = None
    finish_reason: str | None = None


class _Sampled(BaseModel):
    model_config = ConfigDict(extra="ignore")

    choices: list[_Choice]
    prompt_token_ids: list[int] | None = None


class Expected(NamedTuple):
    """What the answers of one server have to be like."""

    server: str
    """Its address, for errors."""
    stop_ids: tuple[int, ...]
    """Tokens that end an answer, the template's own first."""
    image_token: int
    vocabulary: int
    """Ids below it are the model's."""
    max_tokens: int


def read_reply(content: bytes, row: Row, count: int, expected: Expected) -> list[Generated]:
    """Returns the answers of a reply, each with its end token where it ended.

    Args:
        content: What the server sent.
        row: What it was asked.
        count: How many answers were asked.
        expected: What they have to be like.

    Raises:
        RunError: It is no reply, there are fewer or more answers, the prompt was read otherwise, or an answer is none
            that the model could have given; `Unfinished` where the server gave one up.
    """
    said = f"rollouts.base_url: {expected.server}"
    try:
        reply = _Sampled.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or "reply"
        raise RunError(f"{said} gives a reply that cannot be read ({where}: {first['msg']}). {NEXT}") from error
    if len(reply.choices) != count:
        raise RunError(f"{said} gave {len(reply.choices)} answers where {count} were asked. {NEXT}")
    answers = [_answer(choice, place, expected) for place, choice in enumerate(reply.choices)]
    _check_prompt(reply.prompt_token_ids, row, expected)
    return answers


def _check_prompt(read: list[int] | None, row: Row, expected: Expected) -> None:
    """Holds what the server read against what training reads, the picture's own tokens left out."""
    if read is None:
        raise RunError(
            f"rollouts.base_url: {expected.server} does not say what it read of prompt {row.id} (`prompt_token_ids`), "
            "so it may have another chat template. Use a server that returns them with `return_token_ids`, such as "
            "vLLM 0.11 or newer."
        )
    theirs, ours = ([token for token in ids if token != expected.image_token] for ids in (read, row.prompt))
    if theirs != ours:
        place = next((at for at, both in enumerate(zip(theirs, ours, strict=False)) if both[0] != both[1]), -1)
        raise RunError(
            f"rollouts.base_url: {expected.server} reads prompt {row.id} as {len(theirs)} tokens beside the picture's, "
            f"and training as {len(ours)}; they differ from token {place} on. The server has another chat template "
            "or tokenizer: serve the very folder that is trained."
        )


def _answer(choice: _Choice, place: int, expected: Expected) -> Generated:
    said = f"rollouts.base_url: {expected.server}"
    if "token_ids" not in choice.model_fields_set:
        raise RunError(
            f"{said} gives no token ids (choices.{place}.token_ids is missing). Use a server that knows "
            "`return_token_ids`, such as vLLM 0.11 or newer."
        )
    if choice.finish_reason not in ("stop", "length"):
        raise Unfinished(
            f"{said}: choices.{place}.finish_reason is {choice.finish_reason!r} where an answer ends by 'stop' or "
            f"'length': the server gave it up. {NEXT}"
        )
    tokens, stops = tuple(choice.token_ids or ()), expected.stop_ids
    if choice.finish_reason == "stop" and tokens and tokens[-1] not in stops:
        tokens = (*tokens, stops[0])  # some servers leave out the token that they stopped at
    fault = _fault(tokens, choice, expected)
    if fault:
        raise RunError(f"{said}: choices.{place}.token_ids {fault}. {NEXT}")
    return Generated(tokens, tokens[-1] in stops)


def _fault(tokens: tuple[int, ...], choice: _Choice, expected: Expected) -> str:
    """Returns what is wrong with an answer's ids; empty if nothing is."""
    if choice.token_ids is None:
        return "is null: the server knows the field and did not fill it, as `return_token_ids` asks it to"
    if not tokens:
        return "is empty: an answer has one token at least, the one that it ends in"
    strange = [token for token in tokens if not 0 <= token < expected.vocabulary]
    if strange:
        return f"has {strange[0]}, and the model's ids go from 0 to {expected.vocabulary - 1}: another model is served"
    if expected.image_token in tokens:
        return f"has {expected.image_token}, which stands for a picture and is forbidden by `logit_bias`"
    if len(tokens) > expected.max_tokens:
        return f"are {len(tokens)} tokens with the end, and max_tokens={expected.max_tokens} were asked"
    behind = next((len(tokens) - at for at, token in enumerate(tokens, 1) if token in expected.stop_ids), 0)
    return f"go on for {behind} tokens behind an end token, and `stop_token_ids` has it" if behind else ""
