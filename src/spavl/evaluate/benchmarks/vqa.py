"""VQAv2, GQA, VizWiz and TextVQA by one reader: a question about a picture, answered in a word or a few.

Each is read from its authors' JSON where it is there, and from VLMEvalKit's table otherwise. The prompts are those of
LLaVA-1.5's evaluation.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from spavl.evaluate.benchmarks.base import Benchmark, BenchmarkCard, Listed, Rows, Unusable
from spavl.evaluate.benchmarks.files import find_file, read_objects
from spavl.evaluate.benchmarks.rows import file_in, shown, text
from spavl.evaluate.benchmarks.tables import list_cell, read_table
from spavl.records import Failure

PEOPLE = 10
"""Reference answers to a question that is scored by agreement."""
SHORT = "\nAnswer the question using a single word or phrase."
OR_UNANSWERABLE = "\nWhen the provided information is insufficient, respond with 'Unanswerable'." + SHORT


class Entry(NamedTuple):
    """One question as its file has it."""

    row: str
    question: str
    references: tuple[str, ...]
    picture: Path | bytes | None
    called: str
    """The picture's name."""
    category: str = ""


VQAV2_CARD = BenchmarkCard(
    name="vqav2",
    kind="capability",
    title="VQA v2, validation part",
    source="visualqa.org",
    revision="v2",
    licence="CC BY 4.0; the pictures are COCO's",
    size="214,354 questions with 10 answers each",
    rows={"": 214_354},
    metric="VQA accuracy: agreement with at least three of nine people, averaged over which nine",
    layout="v2_OpenEnded_mscoco_val2014_questions.json, v2_mscoco_val2014_annotations.json, val2014/",
    scoring="vqa",
)
GQA_CARD = VQAV2_CARD._replace(
    name="gqa",
    title="GQA, testdev balanced",
    source="cs.stanford.edu/people/dorarad/gqa",
    revision="1.2",
    licence="not stated by the copies at hand",
    size="12,578 questions with one answer each",
    rows={"": 12_578},
    metric="accuracy by exact match",
    layout="testdev_balanced_questions.json (id -> question, answer, imageId, types) and images/; or "
    "GQA_TestDev_Balanced.tsv",
    scoring="exact",
)
VIZWIZ_CARD = VQAV2_CARD._replace(
    name="vizwiz",
    title="VizWiz-VQA, validation part",
    source="vizwiz.org",
    revision="",
    licence="not stated by the copies at hand",
    size="4,319 questions with 10 answers each, a part of them unanswerable",
    rows={"": 4_319},
    metric="VQA accuracy, where `unanswerable` is an answer like others; by answer type as categories",
    layout="val.json (image, question, answers, answer_type) and val/; or VizWiz.tsv",
)
TEXTVQA_CARD = VQAV2_CARD._replace(
    name="textvqa",
    title="TextVQA, validation part",
    source="textvqa.org",
    revision="0.5.1",
    licence="not stated by the copies at hand",
    size="5,000 questions with 10 answers each",
    rows={"": 5_000},
    metric="VQA accuracy",
    layout="TextVQA_0.5.1_val.json (data: question_id, question, image_id, answers) and train_images/; or "
    "TextVQA_VAL.tsv",
)


class Form(NamedTuple):
    """How one of them is read."""

    card: BenchmarkCard
    files: tuple[str, ...]
    """The authors' file, in the places where it may lie."""
    entries: Callable[[Path, Path], Iterator[Entry]]
    """(folder, the file) -> its questions."""
    tables: tuple[str, ...] = ()
    request: str = SHORT


def read(folder: Path, variants: tuple[str, ...], *, form: Form) -> Rows:
    """Yields the questions; they have no variants."""
    path = find_file(folder, *form.files, *(f"{name}.tsv" for name in form.tables))
    wanted = PEOPLE if form.card.scoring == "vqa" else 1
    for entry in _table(folder, form.tables) if path.suffix == ".tsv" else form.entries(folder, path):
        if len(entry.references) != wanted:
            message = f"{len(entry.references)} reference answers; there should be {wanted}"
            yield Unusable(entry.row, Failure(reason="no_answer", message=message))
            continue
        listed = Listed(
            row=entry.row,
            prompt=entry.question and entry.question + form.request,
            expect="answer",
            category=entry.category,
            references=entry.references,
        )
        yield shown(listed, entry.picture, entry.called)


def _table(folder: Path, tables: tuple[str, ...]) -> Iterator[Entry]:
    for row in read_table(folder, tables, ("question", "answer")):
        name = row.cells["index"]
        answers = list_cell(row.cells["answer"])
        category = text(row.cells, "category")
        yield Entry(name, row.cells["question"], answers, row.picture, f"{name}'s picture", category)


def _vqav2(folder: Path, path: Path) -> Iterator[Entry]:
    answered = path.with_name("v2_mscoco_val2014_annotations.json")
    notes = {text(row, "question_id"): row for _, row in read_objects(answered, "annotations")}
    for _, row in read_objects(path, "questions"):
        name = text(row, "question_id")
        note = notes.get(name, {})
        image = f"val2014/COCO_val2014_{text(row, 'image_id').zfill(12)}.jpg"
        picture = file_in(folder, image)
        yield Entry(name, text(row, "question"), _answers(note), picture, image, text(note, "answer_type"))


def _gqa(folder: Path, path: Path) -> Iterator[Entry]:
    for name, row in read_objects(path):
        image, types, answer = f"images/{text(row, 'imageId')}.jpg", row.get("types"), text(row, "answer")
        category = text(types, "structural") if isinstance(types, dict) else ""
        references = (answer,) if answer else ()
        yield Entry(name, text(row, "question"), references, file_in(folder, image), image, category)


def _vizwiz(folder: Path, path: Path) -> Iterator[Entry]:
    for name, row in read_objects(path):
        image = text(row, "image")
        picture = file_in(folder, f"val/{image}", f"images/{image}", image)
        yield Entry(name, text(row, "question"), _answers(row), picture, f"val/{image}", text(row, "answer_type"))


def _textvqa(folder: Path, path: Path) -> Iterator[Entry]:
    for name, row in read_objects(path, "data"):
        image = f"train_images/{text(row, 'image_id')}.jpg"
        key = text(row, "question_id") or name
        yield Entry(key, text(row, "question"), _answers(row), file_in(folder, image), image)


def _answers(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns people's answers, plain or as {answer: ...}."""
    held = row.get("answers")
    answers = held if isinstance(held, list) else []
    return tuple(text(one, "answer") if isinstance(one, dict) else str(one).strip() for one in answers)


FORMS = (
    Form(VQAV2_CARD, ("v2_OpenEnded_mscoco_val2014_questions.json",), _vqav2),
    Form(GQA_CARD, ("testdev_balanced_questions.json",), _gqa, ("GQA_TestDev_Balanced",)),
    Form(VIZWIZ_CARD, ("val.json", "Annotations/val.json"), _vizwiz, ("VizWiz",), OR_UNANSWERABLE),
    Form(TEXTVQA_CARD, ("TextVQA_0.5.1_val.json",), _textvqa, ("TextVQA_VAL",)),
)
VQAV2, GQA, VIZWIZ, TEXTVQA = (Benchmark(form.card, partial(read, form=form)) for form in FORMS)
