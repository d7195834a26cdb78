"""The prompt files that ask a model for questions: versioned data, or one's own, with their intent written down."""

import functools
import hashlib
from importlib import resources
from importlib.resources.abc import Traversable

from spavl.config import QuestionsConfig
from spavl.prompt_files import Prompt, PromptForm, prompt_bytes, read_prompts
from spavl.question_config import PROMPTS
from spavl.records import QuestionType

FORM = PromptForm(
    field="questions.prompts",
    package="spavl.questions",
    versions=PROMPTS,
    names=tuple(QuestionType),
    places=("topic", "caption", "subject"),
    needed=("topic",),
)
"""`{topic}` is what a question is about; the caption stands in a fence, `{caption}`, or bare, `{subject}`."""


def load_prompts(name: str, types: tuple[QuestionType, ...] = tuple(QuestionType)) -> dict[QuestionType, Prompt]:
    """Returns the prompts of a version such as `standard_v2`, or of one's own file, for at least these types.

    Raises:
        UserError: The file is missing or wrong.
    """
    return {QuestionType(key): prompt for key, prompt in read_prompts(FORM, name, types).items()}


@functools.cache
def everyday_topics() -> tuple[str, ...]:
    """Returns the harmless topics that benign contrast questions are about."""
    return tuple(_topics_file().read_text(encoding="utf-8").split("\n")[:-1])


def begins_questions(config: QuestionsConfig) -> bool:
    """Tells whether the writer is given openings to complete, at first or after a refusal.

    Raises:
        UserError: A file of prompts is missing or wrong.
    """
    loaded = [load_prompts(name, config.types) for name, _ in config.tries]
    return any(prompts[kind].openings for prompts in loaded for kind in config.types)


def prompts_digest(config: QuestionsConfig) -> str:
    """Returns the SHA-256 of the files that questions are asked with.

    Raises:
        UserError: One is missing.
    """
    names = dict.fromkeys(name for name, _ in config.tries)
    contents = [*(prompt_bytes(FORM, name) for name in names), _topics_file().read_bytes()]
    return hashlib.sha256(b"".join(contents)).hexdigest()


def _topics_file() -> Traversable:
    return resources.files("spavl.questions") / "prompt_files" / "everyday_topics.txt"
