"""LLaVA-Bench, on COCO's pictures and in the wild: open questions with a GPT-4 answer to compare with."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from spavl.evaluate.benchmarks.base import Benchmark, BenchmarkCard, Listed, Rows
from spavl.evaluate.benchmarks.files import find_file, read_json_lines
from spavl.evaluate.benchmarks.rows import file_in, shown, text


class Files(NamedTuple):
    """Where one of the two lies; each a few places, the first that is there is read."""

    questions: tuple[str, ...]
    answers: tuple[str, ...]
    contexts: tuple[str, ...]
    pictures: tuple[str, ...]
    """With `{}` for the name that the question gives."""


COCO_PLACE = "playground/data/coco2014_val_qa_eval"
COCO = Files(
    (f"{COCO_PLACE}/qa90_questions.jsonl", "qa90_questions.jsonl"),
    (f"{COCO_PLACE}/qa90_gpt4_answer.jsonl", "qa90_gpt4_answer.jsonl"),
    ("llava/eval/table/caps_boxes_coco2014_val_80.jsonl", "caps_boxes_coco2014_val_80.jsonl"),
    ("val2014/COCO_val2014_{}", "COCO_val2014_{}", "val2014/{}", "images/{}", "{}"),
)
WILD = Files(("questions.jsonl",), ("answers_gpt4.jsonl",), ("context.jsonl",), ("images/{}", "{}"))
COCO_CARD = BenchmarkCard(
    name="llava_bench_coco",
    kind="helpfulness",
    title="LLaVA-Bench (COCO)",
    source="haotian-liu/LLaVA",
    revision="c121f04",
    licence="Apache-2.0; the pictures are COCO's",
    size="90 questions about 30 pictures",
    rows={"": 90},
    metric="win rate against the baseline in both orders (the authors: ratio of two 1-10 scores in one order)",
    layout=f"{COCO_PLACE}/qa90_questions.jsonl (question_id, image, text, category) and qa90_gpt4_answer.jsonl, "
    "captions in llava/eval/table/caps_boxes_coco2014_val_80.jsonl, pictures val2014/COCO_val2014_*.jpg",
)
WILD_CARD = COCO_CARD._replace(
    name="llava_bench_in_the_wild",
    title="LLaVA-Bench (In-the-Wild)",
    source="liuhaotian/llava-bench-in-the-wild",
    revision="",
    licence="not stated by the copies at hand",
    size="60 questions about 24 pictures",
    rows={"": 60},
    layout="questions.jsonl (question_id, image, text, category), answers_gpt4.jsonl, context.jsonl, images/",
)


def read(folder: Path, variants: tuple[str, ...], *, files: Files) -> Rows:
    """Yields the questions; they have no variants."""
    answers = _side(folder, files.answers, "question_id", "text")
    contexts = _side(folder, files.contexts, "image", "caption") or _side(folder, files.contexts, "image", "captions")
    for number, row in read_json_lines(find_file(folder, *files.questions)):
        name, image = text(row, "question_id") or str(number), text(row, "image")
        context = contexts.get(image, "")
        listed = Listed(
            row=name,
            prompt=text(row, "text"),
            expect="comply",
            category=text(row, "category"),
            references=(answers[name],) if name in answers else (),
            note=f"The picture: {context}" if context else "",
        )
        places = [place.format(image) for place in files.pictures]
        yield shown(listed, file_in(folder, *places), places[0])


def _side(folder: Path, places: tuple[str, ...], key: str, field: str) -> Mapping[str, str]:
    """Returns key -> text of a file beside the questions; nothing where there is no such file."""
    path = file_in(folder, *places)
    rows = (row for _, row in read_json_lines(path)) if path else ()
    said = ((text(row, key), row.get(field)) for row in rows)
    return {name: " ".join(held) if isinstance(held, list) else str(held) for name, held in said if held}


LLAVA_BENCH_COCO = Benchmark(COCO_CARD, partial(read, files=COCO))
LLAVA_BENCH_IN_THE_WILD = Benchmark(WILD_CARD, partial(read, files=WILD))
