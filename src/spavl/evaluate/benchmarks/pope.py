"""POPE: is an object in the picture? Yes or no, with absent objects drawn in three ways.

The files are named .json and hold a JSON object a line.
"""

from pathlib import Path

from spavl.evaluate.benchmarks.base import Benchmark, BenchmarkCard, Listed, Rows, Unusable
from spavl.evaluate.benchmarks.files import find_file, read_json_lines
from spavl.evaluate.benchmarks.rows import file_in, shown, text
from spavl.records import Failure

CARD = BenchmarkCard(
    name="pope",
    kind="capability",
    title="POPE",
    source="AoiDragon/POPE",
    revision="08d957b",
    licence="MIT; the pictures are COCO's",
    size="9,000 questions about 500 pictures, 3,000 a variant",
    rows={"random": 3_000, "popular": 3_000, "adversarial": 3_000},
    metric="accuracy, precision, recall, F1 and the share of yes, each variant by itself; an answer that says neither "
    "is unscored (the authors count it as yes)",
    layout="output/coco/coco_pope_{random,popular,adversarial}.json (question_id, image, text, label) and COCO's "
    "val2014/",
    scoring="yes_no",
    variants=("random", "popular", "adversarial"),
)
PROMPT = "{}\nAnswer the question using a single word or phrase."
"""As LLaVA-1.5 asks."""


def read(folder: Path, variants: tuple[str, ...]) -> Rows:
    """Yields the questions of the variants asked for."""
    for variant in variants:
        file = f"coco_pope_{variant}.json"
        for number, row in read_json_lines(find_file(folder, f"output/coco/{file}", f"coco/{file}", file)):
            name, label, image = f"{variant}/{number}", text(row, "label"), text(row, "image")
            if label not in ("yes", "no"):
                yield Unusable(name, Failure(reason="no_answer", message=f"its label is '{label}', not yes or no"))
                continue
            question = text(row, "text")
            listed = Listed(
                row=name,
                prompt=PROMPT.format(question) if question else "",
                expect="answer",
                subset=variant,
                references=(label,),
            )
            yield shown(listed, file_in(folder, f"val2014/{image}", f"images/{image}", image), f"val2014/{image}")


POPE = Benchmark(CARD, read)
