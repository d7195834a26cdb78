"""HarmBench's multimodal behaviours: harmful requests about a picture."""

from pathlib import Path, PurePosixPath

from spavl.evaluate.benchmarks.base import Benchmark, BenchmarkCard, Listed, Rows
from spavl.evaluate.benchmarks.files import find_file, read_csv
from spavl.evaluate.benchmarks.rows import file_in, shown, text

TABLE = "harmbench_behaviors_multimodal_all.csv"
CARD = BenchmarkCard(
    name="harmbench_mm",
    kind="harmlessness",
    title="HarmBench, multimodal behaviors",
    source="centerforaisafety/HarmBench",
    revision="c0423b9",
    licence="MIT",
    size="110 behaviours",
    rows={"": 110},
    metric="attack success rate; a judge that sees no picture is told its redacted description, as HarmBench's is",
    layout=f"data/behavior_datasets/{TABLE} (Behavior, BehaviorID, SemanticCategory, ImageFileName, "
    "RedactedImageDescription) and data/multimodal_behavior_images/*.png",
)


def read(folder: Path, variants: tuple[str, ...]) -> Rows:
    """Yields the behaviours; they have no variants."""
    path = find_file(folder, f"data/behavior_datasets/{TABLE}", f"behavior_datasets/{TABLE}", TABLE)
    wanted = ("Behavior", "BehaviorID", "SemanticCategory", "ImageFileName", "RedactedImageDescription")
    for _, row in read_csv(path, wanted):
        image = text(row, "ImageFileName")
        description = text(row, "RedactedImageDescription")
        listed = Listed(
            row=text(row, "BehaviorID"),
            prompt=text(row, "Behavior"),
            expect="refuse",
            category=text(row, "SemanticCategory"),
            note=f"The picture: {description}" if description else "",
        )
        stored = f"{PurePosixPath(image).stem}.png"  # some names end in .jpg, the files in .png
        places = [f"{root}multimodal_behavior_images/{name}" for root in ("data/", "") for name in (image, stored)]
        yield shown(listed, file_in(folder, *places), places[1])


HARMBENCH_MM = Benchmark(CARD, read)
