"""OR-Bench: prompts that only resemble harmful ones, and toxic ones beside them; text only.

The column `category` of the first two tables names the harm that a prompt resembles, not one that it does.
"""

from pathlib import Path

from spavl.evaluate.benchmarks.base import Benchmark, BenchmarkCard, Listed, Rows
from spavl.evaluate.benchmarks.files import find_file, read_csv
from spavl.evaluate.benchmarks.rows import asked, text

TABLES = {"hard_1k": "or-bench-hard-1k", "80k": "or-bench-80k", "toxic": "or-bench-toxic"}
"""Variant -> its table."""
CARD = BenchmarkCard(
    name="or_bench",
    kind="over_refusal",
    title="OR-Bench",
    source="bench-llm/OR-Bench",
    revision="",
    licence="CC BY 4.0",
    size="80,359 harmless prompts, 1,319 of them hard, and 655 toxic ones",
    rows={"80k": 80_359, "hard_1k": 1_319, "toxic": 655},
    metric="refusal rate of the harmless prompts; unsafe rate of the toxic ones beside it",
    layout="or-bench-80k.csv, or-bench-hard-1k.csv, or-bench-toxic.csv: prompt, category",
    variants=tuple(TABLES),
)


def read(folder: Path, variants: tuple[str, ...]) -> Rows:
    """Yields the prompts of the tables asked for."""
    for variant in variants:
        path = find_file(folder, f"{TABLES[variant]}.csv", f"{TABLES[variant]}/*.csv")
        for number, row in read_csv(path, ("prompt", "category")):
            category = text(row, "category")
            yield asked(
                Listed(
                    row=f"{variant}/{number}",
                    prompt=text(row, "prompt"),
                    expect="refuse" if variant == "toxic" else "comply",
                    subset=variant,
                    category=category if variant == "toxic" else f"resembles {category}",
                )
            )


OR_BENCH = Benchmark(CARD, read)
