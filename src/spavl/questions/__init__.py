"""The questions station: a model writes easy questions, hard questions, hard statements and benign contrasts."""

from spavl.questions.prompts import QuestionPrompt, load_prompts, prompts_digest
from spavl.questions.write import write_questions

__all__ = ["QuestionPrompt", "load_prompts", "prompts_digest", "write_questions"]
