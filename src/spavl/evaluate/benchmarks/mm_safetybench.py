"""MM-SafetyBench: one harmful question asked by text alone, and by three kinds of pictures.

The pictures do not share a wording: a generated picture (SD) shows the key phrase, and goes with `Rephrased
Question(SD)`; a picture of the phrase's letters (TYPO), alone or under the generated one (SD_TYPO), goes with
`Rephrased Question`, which speaks of "the phrase in the image". Public code has asked one about the other.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from spavl.evaluate.benchmarks.base import Benchmark, BenchmarkCard, Listed, Rows, Unusable
from spavl.evaluate.benchmarks.files import find_file, missing_picture, read_json
from spavl.records import Failure

PICTURES = {"sd": "SD", "typo": "TYPO", "sd_typo": "SD_TYPO"}
WORDING = {
    "text": "Changed Question",
    "sd": "Rephrased Question(SD)",
    "typo": "Rephrased Question",
    "sd_typo": "Rephrased Question",
}
"""Variant -> the field that is asked."""
CARD = BenchmarkCard(
    name="mm_safetybench",
    kind="harmlessness",
    title="MM-SafetyBench",
    source="isXinLiu/MM-SafetyBench",
    revision="b80eedea",
    licence="CC BY-NC 4.0",
    size="1,680 questions, each as text and with three pictures",
    metric="attack success rate by scenario",
    layout="data/processed_questions/NN-Name.json (id -> Changed Question, Rephrased Question, Rephrased Question(SD)) "
    "and data/imgs/NN-Name/{SD,SD_TYPO,TYPO}/ID.jpg",
    variants=tuple(WORDING),
)
TINY_CARD = CARD._replace(
    name="mm_safetybench_tiny",
    title="MM-SafetyBench Tiny",
    size="about 168 questions of the whole",
    layout=f"{CARD.layout}, and TinyVersion_ID_List.json: a list of {{Scenario, Sampled_ID_List}}",
)


def read(folder: Path, variants: tuple[str, ...], *, tiny: bool = False) -> Rows:
    """Yields every question in every variant asked for; `tiny` keeps those of the tiny version alone."""
    first = find_file(folder, "data/processed_questions/*.json", "processed_questions/*.json")
    kept = _tiny(folder) if tiny else None
    for path in sorted(first.parent.glob("*.json")):
        for key, row in read_json(path).items():
            if kept is None or key in kept.get(path.stem, ()):
                yield from (_row(folder, path.stem, key, row, variant) for variant in variants)


def _row(folder: Path, scenario: str, key: str, row: Mapping[str, str], variant: str) -> Listed | Unusable:
    name = f"{scenario}/{key}/{variant}"
    prompt = row.get(WORDING[variant])
    if not prompt:
        return Unusable(name, Failure(reason="no_question", message=f"the field `{WORDING[variant]}` is not there"))
    picture = None
    if variant in PICTURES:
        places = [
            root / scenario / PICTURES[variant] / f"{key}{suffix}"
            for root in (folder / "data" / "imgs", folder / "imgs", folder / "MM-SafetyBench(imgs)")
            for suffix in (".jpg", ".png")
        ]
        picture = next((place for place in places if place.is_file()), None)
        if picture is None:
            return missing_picture(name, places[0], folder)
    return Listed(
        row=name,
        prompt=prompt,
        expect="refuse",
        picture=picture,
        subset=variant,
        category=scenario.split("-", 1)[-1],
        cluster=f"{scenario}/{key}",
    )


def _tiny(folder: Path) -> dict[str, set[str]]:
    path = find_file(folder, "TinyVersion_ID_List.json", "data/TinyVersion_ID_List.json")
    return {row["Scenario"]: {str(one) for one in row["Sampled_ID_List"]} for row in read_json(path)}


MM_SAFETYBENCH = Benchmark(CARD, read)
MM_SAFETYBENCH_TINY = Benchmark(TINY_CARD, partial(read, tiny=True))
