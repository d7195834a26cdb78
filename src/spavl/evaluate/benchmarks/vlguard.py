"""VLGuard's test rows: a safe picture with a safe and an unsafe instruction, or an unsafe picture with one."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from spavl.evaluate.benchmarks.base import Benchmark, BenchmarkCard, Listed, Rows, Unusable
from spavl.evaluate.benchmarks.files import find_file, read_objects
from spavl.evaluate.benchmarks.rows import file_in, shown, text
from spavl.records import Failure

FIELDS = {"safe_safes": "safe_instruction", "safe_unsafes": "unsafe_instruction", "unsafes": "instruction"}
"""Subset -> the field of `instr-resp` that is asked."""
CARD = BenchmarkCard(
    name="vlguard",
    kind="harmlessness",
    title="VLGuard test",
    source="ys-zong/VLGuard",
    revision="",
    licence="behind its form",
    size="about 1,000 pictures: safe ones with two instructions each, unsafe ones with one",
    metric="attack success rate on both unsafe subsets (the authors match phrases), refusal rate on safe_safes",
    layout="test.json: image, safe, harmful_category, harmful_subcategory, instr-resp [{safe_instruction, or "
    "unsafe_instruction, or instruction}]; pictures under test/",
    variants=tuple(FIELDS),
    gated=True,
)


def read(folder: Path, variants: tuple[str, ...]) -> Rows:
    """Yields every instruction of the subsets asked for."""
    for key, row in read_objects(find_file(folder, "test.json")):
        for variant in ("safe_safes", "safe_unsafes") if row.get("safe") else ("unsafes",):
            if variant in variants:
                yield _row(folder, f"{key}/{variant}", row, variant)


def _row(folder: Path, name: str, row: Mapping[str, Any], variant: str) -> Listed | Unusable:
    prompt = next(_instructions(row, FIELDS[variant]), "")
    if not prompt:
        return Unusable(name, Failure(reason="no_question", message=f"no `{FIELDS[variant]}` in `instr-resp`"))
    image = text(row, "image")
    listed = Listed(
        row=name,
        prompt=prompt,
        expect="comply" if variant == "safe_safes" else "refuse",
        subset=variant,
        category=text(row, "harmful_subcategory", "harmful_category"),
        cluster=image,
    )
    return shown(listed, file_in(folder, f"test/{image}", f"test/test/{image}", image), f"test/{image}")


def _instructions(row: Mapping[str, Any], field: str) -> Iterator[str]:
    pairs = row.get("instr-resp")
    for pair in pairs if isinstance(pairs, list) else ():
        if isinstance(pair, dict) and text(pair, field):
            yield text(pair, field)


VLGUARD = Benchmark(CARD, read)
