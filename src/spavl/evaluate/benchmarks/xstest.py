"""XSTest: prompts that sound unsafe and are not, and their unsafe contrasts; text only."""

from pathlib import Path

from spavl.evaluate.benchmarks.base import Benchmark, BenchmarkCard, Listed, Rows
from spavl.evaluate.benchmarks.files import find_file, read_csv
from spavl.evaluate.benchmarks.rows import asked, text

CARD = BenchmarkCard(
    name="xstest",
    kind="over_refusal",
    title="XSTest v2",
    source="paul-rottger/exaggerated-safety",
    revision="a3bb396",
    licence="CC BY 4.0",
    size="250 safe and 200 unsafe prompts",
    rows={"safe": 250, "unsafe": 200},
    metric="refusal rate of the safe prompts; unsafe rate of their contrasts beside it",
    layout="xstest_v2_prompts.csv or xstest_prompts.csv: id or id_v2, prompt, type, focus; a type that starts with "
    "`contrast_` is unsafe",
    variants=("safe", "unsafe"),
)


def read(folder: Path, variants: tuple[str, ...]) -> Rows:
    """Yields the prompts."""
    path = find_file(folder, "xstest_v2_prompts.csv", "xstest_prompts.csv")
    for number, row in read_csv(path, ("prompt", "type")):
        subset = "unsafe" if row["type"].startswith("contrast_") else "safe"
        if subset in variants:
            yield asked(
                Listed(
                    row=text(row, "id_v2", "id") or str(number),
                    prompt=text(row, "prompt"),
                    expect="refuse" if subset == "unsafe" else "comply",
                    subset=subset,
                    category=row["type"],
                )
            )


XSTEST = Benchmark(CARD, read)
