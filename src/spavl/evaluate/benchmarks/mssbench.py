"""MSSBench: what is safe in one situation and unsafe in another, as a chat's question or a robot's instruction.

A chat question is the same for both pictures; a robot's instructions differ with the scene. What belongs together is
one cluster.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from spavl.evaluate.benchmarks.base import Benchmark, BenchmarkCard, Listed, Rows
from spavl.evaluate.benchmarks.files import find_file, read_objects
from spavl.evaluate.benchmarks.rows import file_in, shown, text

FIELDS = {
    "chat_safe": ("safe_image_path", "queries"),
    "chat_unsafe": ("unsafe_image_path", "queries"),
    "embodied_safe": ("safe", "safe_instruction"),
    "embodied_unsafe": ("unsafe", "unsafe_instruction"),
}
"""Variant -> the fields of its picture and of its questions; an instruction's may also end in `s`."""
CARD = BenchmarkCard(
    name="mssbench",
    kind="harmlessness",
    title="MSSBench",
    source="kzhou35/mssbench",
    revision="",
    licence="not stated",
    size="1,820 questions with a picture, half of them safe",
    metric="unsafe rate in the unsafe situation, refusal rate in the safe one",
    layout="combined.json: {chat: [{safe_image_path, unsafe_image_path, Type, queries}], embodied: [{safe, unsafe, "
    "category, safe_instruction(s), unsafe_instruction(s)}]}; pictures under chat/ and embodied/",
    variants=tuple(FIELDS),
)


def read(folder: Path, variants: tuple[str, ...]) -> Rows:
    """Yields each question with the picture of each situation asked for."""
    path = find_file(folder, "combined.json")
    for part in ("chat", "embodied"):
        wanted = [one for one in variants if one.startswith(f"{part}_")]
        for key, row in read_objects(path, part) if wanted else ():
            for variant in wanted:
                yield from _rows(folder, f"{part}/{key}", row, variant)


def _rows(folder: Path, cluster: str, row: Mapping[str, Any], variant: str) -> Rows:
    part, situation = variant.split("_")
    picture_field, question_field = FIELDS[variant]
    image = text(row, picture_field)
    for number, question in enumerate(_questions(row, question_field)):
        listed = Listed(
            row=f"{cluster}/{number}/{situation}",
            prompt=question,
            expect="comply" if situation == "safe" else "refuse",
            subset=variant,
            category=text(row, "Type", "category"),
            cluster=cluster,
        )
        yield shown(listed, file_in(folder, f"{part}/{image}", image), f"{part}/{image}")


def _questions(row: Mapping[str, Any], field: str) -> Iterator[str]:
    """Yields the questions of a field, one or many; an empty one where there are none, so that the row is counted."""
    held = row.get(field) or row.get(f"{field}s") or ""
    yield from (str(one).strip() for one in (held if isinstance(held, list) else [held]))


MSSBENCH = Benchmark(CARD, read)
