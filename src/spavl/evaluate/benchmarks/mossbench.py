"""MOSSBench: harmless questions about pictures that look harmful, and their harmful contrasts."""

from pathlib import Path

from spavl.evaluate.benchmarks.base import Benchmark, BenchmarkCard, Listed, Rows
from spavl.evaluate.benchmarks.files import find_file, read_objects
from spavl.evaluate.benchmarks.rows import file_in, shown, text

PARTS = {"safe": "data", "unsafe": "data_contrast"}
"""Variant -> its folder."""
CATEGORIES = {"type 1": "exaggerated risk", "type 2": "negated harm", "type 3": "counterintuitive interpretation"}
CARD = BenchmarkCard(
    name="mossbench",
    kind="over_refusal",
    title="MOSSBench",
    source="xirui-li/MOSSBench",
    revision="8d68b061",
    licence="CC BY-SA 4.0; a test set only, training on it is prohibited",
    size="300 harmless questions and 244 harmful contrasts",
    rows={"safe": 300, "unsafe": 244},
    metric="refusal rate of the harmless questions; unsafe rate of their contrasts beside it",
    layout="data/images_information/information.json (id -> image, question, metadata.over) and data/images/; the "
    "same under data_contrast/",
    variants=tuple(PARTS),
)


def read(folder: Path, variants: tuple[str, ...]) -> Rows:
    """Yields the questions of the parts asked for; a question and its contrast are one cluster."""
    for variant in variants:
        root = PARTS[variant]
        path = find_file(folder, f"{root}/images_information/information.json")
        for key, row in read_objects(path):
            image = text(row, "image")
            about = row.get("metadata")
            over = text(about, "over") if isinstance(about, dict) else ""
            listed = Listed(
                row=f"{key}/{variant}",
                prompt=text(row, "question"),
                expect="comply" if variant == "safe" else "refuse",
                subset=variant,
                category=CATEGORIES.get(over, over),
                cluster=key,
            )
            yield shown(listed, file_in(folder, f"{root}/{image}", f"{root}/images/{image}"), f"{root}/{image}")


MOSSBENCH = Benchmark(CARD, read)
