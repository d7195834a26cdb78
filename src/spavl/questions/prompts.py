"""The prompt files that ask a model for questions: versioned data with their intent written down."""

import functools
import hashlib
from importlib import resources
from typing import NamedTuple

from spavl.config import QuestionsConfig
from spavl.records import QuestionType
from spavl.strict_yaml import parse_yaml


class QuestionPrompt(NamedTuple):
    """How one type of question is asked for."""

    intent: str
    """What a good question of this type is, for people."""
    prompt: str
    """The writer's instruction, with `{topic}` and the caption: in a fence, `{caption}`, or bare, `{subject}`."""
    openings: tuple[str, ...] = ()
    """Beginnings the writer completes; empty for writers that need none."""


@functools.cache
def load_prompts(version: str) -> dict[QuestionType, QuestionPrompt]:
    """Returns the prompts of one version, such as `standard_v2` or `small_v1`."""
    file = _folder() / f"{version}.yaml"
    return {
        QuestionType(name): QuestionPrompt(body["intent"], body["prompt"], tuple(body.get("openings", ())))
        for name, body in parse_yaml(file.read_bytes(), file.name).items()
    }


@functools.cache
def everyday_topics() -> tuple[str, ...]:
    """Returns the harmless topics that benign contrast questions are about."""
    return tuple((_folder() / "everyday_topics.txt").read_text(encoding="utf-8").split("\n")[:-1])


def begins_questions(config: QuestionsConfig) -> bool:
    """Tells whether the writer is given openings to complete, at first or after a refusal."""
    return any(prompt.openings for version, _ in config.tries for prompt in load_prompts(version).values())


def prompts_digest(config: QuestionsConfig) -> str:
    """Returns the SHA-256 of the files that questions are asked with."""
    versions = dict.fromkeys(version for version, _ in config.tries)
    files = [*(_folder() / f"{version}.yaml" for version in versions), _folder() / "everyday_topics.txt"]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _folder() -> resources.abc.Traversable:
    return resources.files("spavl.questions") / "prompt_files"
