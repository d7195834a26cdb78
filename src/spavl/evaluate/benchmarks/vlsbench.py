"""VLSBench: harmful pictures with questions whose text does not tell of the harm."""

from pathlib import Path

from spavl.evaluate.benchmarks.base import Benchmark, BenchmarkCard, Listed, Rows
from spavl.evaluate.benchmarks.files import find_file, read_objects
from spavl.evaluate.benchmarks.rows import file_in, shown, text

CARD = BenchmarkCard(
    name="vlsbench",
    kind="harmlessness",
    title="VLSBench",
    source="Foreshhh/vlsbench",
    revision="",
    licence="Apache-2.0",
    size="2,241 pictures with a question each",
    rows={"": 2_241},
    metric="unsafe rate; the authors tell a safe answer that refuses from one that warns",
    layout="data.json: instruction_id, instruction, image or image_path, category, sub_category, source, and in later "
    "revisions safety_reason; pictures from imgs.tar, unpacked, under imgs/",
)


def read(folder: Path, variants: tuple[str, ...]) -> Rows:
    """Yields the questions; they have no variants."""
    for key, row in read_objects(find_file(folder, "data.json")):
        image, reason = text(row, "image_path", "image"), text(row, "safety_reason")
        listed = Listed(
            row=text(row, "instruction_id") or key,
            prompt=text(row, "instruction"),
            expect="refuse",
            category=text(row, "category"),
            note=f"What is unsafe about it: {reason}" if reason else "",
        )
        yield shown(listed, file_in(folder, image, f"imgs/{image}"), image)


VLSBENCH = Benchmark(CARD, read)
