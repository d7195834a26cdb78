"""Which columns of a foreign dataset say what, and what a row's question and answers are.

It knows TRL's preference columns and those of SPA-VL's release. It opens no picture.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from spavl.errors import UserError
from spavl.records import Failure, QuestionType

PICTURE_COLUMNS = ("images", "image", "image_name")
PROMPT_COLUMNS = ("prompt", "question")
ANSWER_COLUMNS = ("chosen", "rejected")
OPTIONAL_COLUMNS = (
    "question_type",
    "class1",
    "class2",
    "class3",
    "chosen_responder",
    "rejected_responder",
    "chosen_verdict",
    "rejected_verdict",
    "chosen_finish",
    "rejected_finish",
    "judge",
    "licence",
    "license",
    "rationales",
    "strength",
)


SPA_VL_TYPES = {
    "easy": QuestionType.EASY_QUESTION,
    "hardq": QuestionType.HARD_QUESTION,
    "hards": QuestionType.HARD_STATEMENT,
    "hardd": QuestionType.HARD_STATEMENT,
}
"""The release's tags of question types; its code calls `hards` `hardd`."""


class Picture(NamedTuple):
    """A picture of a row: its bytes, or the name of its file, or both."""

    content: bytes | None
    name: str | None


class Columns(NamedTuple):
    """The columns that are read."""

    pictures: tuple[str, ...]
    """The first that is filled gives a row's picture."""
    prompt: str
    optional: tuple[str, ...]

    @property
    def all(self) -> list[str]:
        """All of them."""
        return [*self.pictures, self.prompt, *ANSWER_COLUMNS, *self.optional]


class Texts(NamedTuple):
    """What is said in a row."""

    question: str
    chosen: str
    rejected: str


def known_columns(schema: pa.Schema) -> Columns:
    """Finds the columns that are read.

    Raises:
        UserError: One that is needed is missing, or holds something else than text or chat turns.
    """
    names = schema.names
    pictures = tuple(name for name in PICTURE_COLUMNS if name in names)
    prompt = next((name for name in PROMPT_COLUMNS if name in names), None)
    missing = [] if pictures else ["a picture (images, image or image_name)"]
    missing += [] if prompt else ["a question (prompt or question)"]
    missing += [name for name in ANSWER_COLUMNS if name not in names]
    if missing or prompt is None:
        raise UserError(
            f"data.path: the dataset has no column for {', '.join(missing)}; its columns are {', '.join(names)}. "
            "Rename them to TRL's (images, prompt, chosen, rejected) or SPA-VL's (image, question, chosen, rejected)."
        )
    for name in (prompt, *ANSWER_COLUMNS):
        if not _is_text(schema.field(name).type) and not _is_turns(schema.field(name).type):
            raise UserError(
                f"data.path: column `{name}` holds {schema.field(name).type}; "
                "allowed are text, or chat turns with role and content."
            )
    return Columns(pictures, prompt, tuple(name for name in OPTIONAL_COLUMNS if name in names))


def row_pictures(row: Mapping[str, Any]) -> list[Picture]:
    """Returns the pictures of a row, from the first of its picture columns that is filled."""
    found = next((row[name] for name in PICTURE_COLUMNS if row.get(name)), ())
    pictures = []
    for one in found if isinstance(found, list | tuple) else (found,):
        if isinstance(one, dict):
            pictures.append(Picture(one.get("bytes"), one.get("path")))
        else:
            pictures.append(Picture(one, None) if isinstance(one, bytes) else Picture(None, str(one)))
    return pictures


def question_type(name: object) -> QuestionType | None:
    """Returns the question type that a row names, in our words or the release's; None where it names none."""
    return {**SPA_VL_TYPES, **{str(one): one for one in QuestionType}}.get(str(name))


def read_texts(row: Mapping[str, Any], columns: Columns) -> Texts | Failure:
    """Returns what is said in a row, or why it cannot be used."""
    question = said(row[columns.prompt], "user")
    answers = [said(row[name], "assistant") for name in ANSWER_COLUMNS]
    if question is None or None in answers:
        return _drop("several_turns", "the prompt is not one user turn, or an answer is not one assistant turn")
    if columns.prompt == "question":
        question = question.strip()  # SPA-VL's release has stray spaces and newlines around its questions
    texts = Texts(question, *(answer or "" for answer in answers))
    if not texts.question.strip():
        return _drop("empty_question", "there is no question")
    if not texts.chosen.strip() or not texts.rejected.strip():
        return _drop("empty_answer", "an answer is empty")
    if texts.chosen.strip() == texts.rejected.strip():
        return _drop("same_answers", "the chosen and the rejected answer are the same")
    return texts


def said(value: str | Sequence[Mapping[str, Any]] | None, role: str) -> str | None:
    """Returns the text of a string or of a single turn; None where there are other turns."""
    if not value or isinstance(value, str):
        return str(value or "")
    if len(value) != 1 or value[0]["role"] != role:
        return None
    content = value[0]["content"]
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part.get("text") or "" for part in content)


def _drop(reason: str, message: str) -> Failure:
    return Failure(reason=reason, message=message, dropped=True)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_turns(kind: pa.DataType) -> bool:
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or not pa.types.is_struct(kind.value_type):
        return False
    return {"role", "content"} <= {field.name for field in kind.value_type}
