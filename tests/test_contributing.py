"""CONTRIBUTING tells where a new unit goes: wherever one that is there already stands."""

import re
from pathlib import Path

import pytest

from spavl.records import Sample

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SOURCE = ROOT / "src" / "spavl"


def named_between(start: str, end: str) -> set[str]:
    section = GUIDE[GUIDE.index(start) :]
    return set(re.findall(r"`([\w/]+\.py)`", section[: section.index(end)]))


@pytest.mark.parametrize(
    ("start", "end", "unit", "own"),
    [
        ("A loss stands in", "A benchmark stands in", "[hH]inge", set()),
        ("A benchmark stands in", "How an answer is scored", "naming_sample|naming_accuracy", {"naming.py"}),
    ],
)
def test_every_file_in_which_a_loss_or_a_benchmark_stands_is_named(
    start: str, end: str, unit: str, own: set[str]
) -> None:
    """Of the losses the hinge is taken, of the benchmarks the naming of pictures; its own file is `<name>.py`."""
    files = [path for path in SOURCE.rglob("*.py") if re.search(unit, path.read_text(encoding="utf-8"))]
    assert len(files) >= 2
    standing = {str(path.relative_to(SOURCE)) for path in files if path.name not in own}
    assert standing <= named_between(start, end)


def test_every_file_and_name_that_is_named_is_there() -> None:
    files = re.findall(r"`((?:\w+/)*\w+\.py)`", GUIDE)
    assert len(files) > 10
    assert [name for name in files if not any((root / name).is_file() for root in (SOURCE, ROOT))] == []
    folders = (SOURCE, ROOT / "tests")
    text = "".join(path.read_text(encoding="utf-8") for folder in folders for path in folder.rglob("*.py"))
    names = re.findall(r"`(_?[a-z]+_[a-z_]+|[A-Z][a-z]+[A-Z]\w+|[A-Z]{4,})`", GUIDE)
    assert len(names) > 10
    assert [name for name in names if name not in text] == []


def test_the_benchmark_that_is_shown_whole_makes_samples() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    names: dict[str, object] = {}
    exec(code, names)
    make = names["counting_samples"]
    assert callable(make)
    (sample,) = make([("0" * 64, 3)])
    assert isinstance(sample, Sample) and sample.references == ("3",)
