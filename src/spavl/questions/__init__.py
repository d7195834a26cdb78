"""The questions station: a model writes harmful questions of three types and benign ones, and others check them."""

from spavl.questions.check import check_questions, kept_questions
from spavl.questions.leakage import Leakage
from spavl.questions.prompts import begins_questions, load_prompts, prompts_digest
from spavl.questions.write import Subject, write_questions

__all__ = [
    "Leakage",
    "Subject",
    "begins_questions",
    "check_questions",
    "kept_questions",
    "load_prompts",
    "prompts_digest",
    "write_questions",
]
