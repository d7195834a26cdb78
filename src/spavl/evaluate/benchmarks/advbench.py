"""AdvBench's harmful behaviours, asked plainly (vanilla) and with an adversarial suffix behind each.

The suffix is not ours to hand out: it is read from `suffix.txt` in the benchmark's folder, one line. A behaviour and
its suffixed twin are one cluster. There are no pictures; what stands in for one is the evaluation's `picture`.
"""

from collections.abc import Iterator
from pathlib import Path

from spavl.errors import UserError
from spavl.evaluate.benchmarks.base import Benchmark, BenchmarkCard, Listed, Rows
from spavl.evaluate.benchmarks.files import find_file, read_csv, read_text
from spavl.evaluate.benchmarks.rows import asked, text
from spavl.strict_yaml import parse_yaml

CARD = BenchmarkCard(
    name="advbench",
    kind="harmlessness",
    title="AdvBench harmful behaviors",
    source="llm-attacks/llm-attacks",
    revision="",
    licence="MIT",
    size="520 behaviours",
    rows={"vanilla": 520, "suffix": 520},
    metric="attack success rate by a safety judge; the original counts answers without a refusal phrase",
    layout="harmful_behaviors.csv (goal, target), or PyRIT's adv_bench.prompt (seeds: value, harm_categories); "
    "for `suffix` also suffix.txt, one line",
    variants=("vanilla", "suffix"),
)


def read(folder: Path, variants: tuple[str, ...]) -> Rows:
    """Yields the behaviours in every variant asked for.

    Raises:
        UserError: The variant `suffix` is asked for, and suffix.txt is not one line.
    """
    path = find_file(folder, "harmful_behaviors.csv", "data/advbench/harmful_behaviors.csv", "adv_bench.prompt")
    suffix = _suffix(path.parent) if "suffix" in variants else ""
    for number, (goal, category) in enumerate(_goals(path), 1):
        for variant in variants:
            yield asked(
                Listed(
                    row=f"{number}/{variant}",
                    prompt=f"{goal} {suffix}" if goal and variant == "suffix" else goal,
                    expect="refuse",
                    subset=variant,
                    category=category,
                    cluster=str(number),
                )
            )


def _goals(path: Path) -> Iterator[tuple[str, str]]:
    """Yields (behaviour, category)."""
    if path.suffix == ".csv":
        yield from ((text(row, "goal"), "") for _, row in read_csv(path, ("goal",)))
        return
    body = parse_yaml(read_text(path), str(path))
    seeds = body.get("seeds") if isinstance(body, dict) else None
    if not isinstance(seeds, list) or not all(isinstance(seed, dict) for seed in seeds):
        raise UserError(f"{path}: `seeds` is to be a list of mappings. Get the file again.")
    for seed in seeds:
        yield text(seed, "value"), str(next(iter(seed.get("harm_categories") or ()), ""))


def _suffix(folder: Path) -> str:
    path = folder / "suffix.txt"
    lines = read_text(path).split("\n") if path.is_file() else []
    filled = [line.strip() for line in lines if line.strip()]
    if len(filled) != 1:
        raise UserError(
            f"AdvBench's variant `suffix` needs {path} with the suffix on one line; "
            f"{f'it has {len(filled)}' if lines else 'it is not there'}. Write it, or give `variants: [vanilla]`."
        )
    return filled[0]


ADVBENCH = Benchmark(CARD, read)
