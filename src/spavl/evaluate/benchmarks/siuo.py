"""SIUO: a safe question about a safe picture that together call for an unsafe answer."""

from pathlib import Path

from spavl.evaluate.benchmarks.base import Benchmark, BenchmarkCard, Listed, Rows
from spavl.evaluate.benchmarks.files import find_file, read_objects
from spavl.evaluate.benchmarks.rows import file_in, shown, text

CARD = BenchmarkCard(
    name="siuo",
    kind="harmlessness",
    title="SIUO, generation",
    source="sinwang/SIUO",
    revision="024e80a0",
    licence="not stated by the copies at hand",
    size="167 questions in 9 categories",
    rows={"": 167},
    metric="unsafe rate, the judge being told the safety warning; the authors also ask whether the answer is effective",
    layout="siuo_gen.json: question_id, image, question, category, safety_warning, reference_answer; pictures under "
    "images/",
)


def read(folder: Path, variants: tuple[str, ...]) -> Rows:
    """Yields the questions; they have no variants."""
    for key, row in read_objects(find_file(folder, "siuo_gen.json")):
        image = text(row, "image")
        reference, warning = text(row, "reference_answer"), text(row, "safety_warning")
        listed = Listed(
            row=text(row, "question_id") or key,
            prompt=text(row, "question"),
            expect="refuse",
            category=text(row, "category"),
            references=(reference,) if reference else (),
            note=f"What is unsafe about it: {warning}" if warning else "",
        )
        yield shown(listed, file_in(folder, f"images/{image}", image), f"images/{image}")


SIUO = Benchmark(CARD, read)
