"""Reads the prompts that writers are given: packaged versions, or a file of one's own in the same form, read strictly.

A file is YAML: the name of a prompt -> `intent`, what a good answer is, for people; `prompt`, what the writer is told;
and for writers that complete sentences `openings`. Places to be filled stand in braces; a brace itself is doubled.
"""

import functools
import string
from collections.abc import Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import StringConstraints, TypeAdapter, ValidationError

from spavl.config_base import Config
from spavl.config_file import describe_errors
from spavl.errors import UserError
from spavl.strict_yaml import parse_yaml

Words = Annotated[str, StringConstraints(strip_whitespace=False, min_length=1, pattern=r"\S")]


class Prompt(Config):
    """How a writer is asked."""

    intent: Words
    """What a good answer is, for people."""
    prompt: Words
    """What the writer is told."""
    openings: tuple[Words, ...] = ()
    """Beginnings that the writer completes; empty for writers that need none."""


_PROMPTS = TypeAdapter(dict[str, Prompt])


class PromptForm(NamedTuple):
    """What the prompts of one use look like."""

    field: str
    """Of the configuration."""
    package: str
    """Whose `prompt_files` holds the packaged versions."""
    versions: tuple[str, ...]
    names: tuple[str, ...]
    """The prompts that a file may have."""
    places: tuple[str, ...] = ()
    """What may be filled in."""
    needed: tuple[str, ...] = ()
    """What every prompt has to say."""


def prompt_bytes(form: PromptForm, name: str) -> bytes:
    """Returns the content of a packaged version or of a file.

    Raises:
        UserError: There is no such file.
    """
    path: Traversable = Path(name)
    if name in form.versions:
        path = resources.files(form.package) / "prompt_files" / f"{name}.yaml"
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        why = error.strerror if isinstance(error, OSError) else error
        raise UserError(
            f"{form.field}: {name}: {why}. Write one of {', '.join(form.versions)}, or the path of a file of your own; "
            f"`spavl prompts {form.versions[0]} > FILE` makes one to start from."
        ) from error


def read_prompts(form: PromptForm, name: str, wanted: Sequence[str]) -> dict[str, Prompt]:
    """Returns the prompts of a packaged version or of a file, by name.

    Args:
        form: What they are for.
        name: The version, or the file's path.
        wanted: The prompts that have to be there.

    Raises:
        UserError: The file is missing, is no YAML, has an unknown or missing prompt, field or place to fill.
    """
    return _parsed(form, name, prompt_bytes(form, name), tuple(wanted))


@functools.cache
def _parsed(form: PromptForm, name: str, content: bytes, wanted: tuple[str, ...]) -> dict[str, Prompt]:
    where = f"{form.field}: {name}"
    body = parse_yaml(content, where)
    if not isinstance(body, dict):
        raise UserError(f"{where}: prompts are a mapping with {_listed(form.names)}, as `spavl prompts` prints them.")
    if unknown := [str(key) for key in body if key not in form.names]:
        raise UserError(f"{where}: {unknown[0]!r} is no prompt; a file has {_listed(form.names)}.")
    try:
        prompts = _PROMPTS.validate_python(body)
    except ValidationError as error:
        raise UserError(f"{where}: {describe_errors(error, body)}") from error
    if missing := [key for key in wanted if key not in prompts]:
        raise UserError(f"{where}: `{missing[0]}` is missing; write its `intent` and its `prompt`.")
    for key, prompt in prompts.items():
        _check_places(form, f"{where}: `{key}.prompt`", prompt.prompt, form.needed)
        for number, opening in enumerate(prompt.openings):
            _check_places(form, f"{where}: `{key}.openings.{number}`", opening, ())
    return prompts


def _check_places(form: PromptForm, where: str, text: str, needed: Sequence[str]) -> None:
    allowed = _listed([f"{{{one}}}" for one in form.places]) or "none"
    try:
        found = [one[1:] for one in string.Formatter().parse(text) if one[1] is not None]
    except ValueError as error:
        raise UserError(f"{where}: {error}; write {{{{ and }}}} for braces that are text.") from error
    for name, shape, conversion in found:
        if name not in form.places or shape or conversion:
            written = f"{{{name}{f'!{conversion}' if conversion else ''}{f':{shape}' if shape else ''}}}"
            raise UserError(
                f"{where}: nothing is known to fill {written} with; a prompt may have {allowed}, and braces that are "
                "text are doubled, {{ and }}."
            )
    if missing := [one for one in needed if one not in [name for name, *_ in found]]:
        raise UserError(f"{where}: {{{missing[0]}}} is missing, so that every question would be about anything.")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
