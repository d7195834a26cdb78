"""The prompt files that ask a model for questions: versioned data with their intent written down."""

import functools
import hashlib
from importlib import resources
from typing import NamedTuple

from spavl.records import QuestionType
from spavl.strict_yaml import parse_yaml


class QuestionPrompt(NamedTuple):
    """How one type of question is asked for."""

    intent: str
    """What a good question of this type is, for people."""
    prompt: str
    """The writer's instruction, with `{subject}` and `{topic}`."""
    openings: tuple[str, ...] = ()
    """Beginnings the writer completes; empty for writers that need none."""


@functools.cache
def load_prompts(version: str) -> dict[QuestionType, QuestionPrompt]:
    """Returns the prompts of one version, such as `standard_v1` or `small_v1`."""
    file = _folder() / f"{version}.yaml"
    return {
        QuestionType(name): QuestionPrompt(body["intent"], body["prompt"], tuple(body.get("openings", ())))
        for name, body in parse_yaml(file.read_bytes(), file.name).items()
    }


@functools.cache
def everyday_topics() -> tuple[str, ...]:
    """Returns the harmless topics that benign contrast questions are about."""
    return tuple((_folder() / "everyday_topics.txt").read_text(encoding="utf-8").split("\n")[:-1])


def prompts_digest(version: str) -> str:
    """Returns the SHA-256 of everything a version's questions are asked with."""
    files = (_folder() / f"{version}.yaml", _folder() / "everyday_topics.txt")
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _folder() -> resources.abc.Traversable:
    return resources.files("spavl.questions") / "prompt_files"
