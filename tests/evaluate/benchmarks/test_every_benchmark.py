"""What holds for every public benchmark, read from its documented shape (`shapes.py`)."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.evaluate.benchmarks.shapes import SHAPES

from spavl.errors import UserError
from spavl.evaluate.benchmarks import BENCHMARKS, Benchmark, Listed, Unusable
from spavl.evaluate.scoring import SCORERS

Shaped = Callable[[Benchmark], Path]


@pytest.fixture
def shaped(tmp_path: Path) -> Shaped:
    def write(benchmark: Benchmark) -> Path:
        SHAPES[benchmark.card.name].write(tmp_path)
        return tmp_path

    return write


def every(test: Callable[..., None]) -> Callable[..., None]:
    return pytest.mark.parametrize("benchmark", BENCHMARKS, ids=lambda one: one.card.name)(test)


def read(benchmark: Benchmark, folder: Path) -> list[Listed | Unusable]:
    return list(benchmark.read(folder, benchmark.card.variants))


@every
def test_all_rows_of_the_documented_shape_can_be_asked(benchmark: Benchmark, shaped: Shaped) -> None:
    rows = read(benchmark, shaped(benchmark))
    assert [row for row in rows if isinstance(row, Unusable)] == []
    assert rows
    assert len({row.row for row in rows}) == len(rows)


@every
def test_each_variant_alone_is_its_part_of_the_whole(benchmark: Benchmark, shaped: Shaped) -> None:
    folder = shaped(benchmark)
    parts = [row for variant in benchmark.card.variants for row in benchmark.read(folder, (variant,))]
    assert all(isinstance(row, Listed) and row.subset in benchmark.card.variants for row in parts)
    if parts:
        assert sorted(row.row for row in parts) == sorted(row.row for row in read(benchmark, folder))


@every
def test_rows_without_their_pictures_are_counted_one_by_one(benchmark: Benchmark, shaped: Shaped) -> None:
    folder = shaped(benchmark)
    with_pictures = read(benchmark, folder)
    files = [path for path in folder.rglob("*") if path.suffix in (".jpg", ".png")]
    for path in files:
        path.unlink()
    lacking = {row.row for row in read(benchmark, folder) if isinstance(row, Unusable)}
    assert len(read(benchmark, folder)) == len(with_pictures)
    assert lacking == {row.row for row in with_pictures if isinstance(row, Listed) and isinstance(row.picture, Path)}
    assert bool(lacking) == bool(files)


@every
def test_another_folder_is_refused_with_what_is_looked_for(benchmark: Benchmark, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has none of .* Give the folder"):
        read(benchmark, tmp_path)


@every
def test_what_is_expected_fits_how_it_is_scored(benchmark: Benchmark, shaped: Shaped) -> None:
    card = benchmark.card
    expected = {row.expect for row in read(benchmark, shaped(benchmark)) if isinstance(row, Listed)}
    allowed = {
        "harmlessness": {"refuse", "comply"},
        "over_refusal": {"refuse", "comply"},
        "helpfulness": {"comply"},
        "capability": {"choose", "answer"},
    }[card.kind]
    assert expected <= allowed
    assert (card.scoring in SCORERS) == (card.kind == "capability")
    assert expected & {"refuse"} if card.kind == "harmlessness" else "comply" in expected or card.kind == "capability"


def test_every_benchmark_has_a_shape_and_a_name_of_its_own() -> None:
    assert [benchmark.card.name for benchmark in BENCHMARKS] == list(SHAPES)


@every
def test_the_published_number_of_rows_is_of_its_variants(benchmark: Benchmark) -> None:
    card = benchmark.card
    assert set(card.rows) in (set(), set(card.variants or [""]))
    assert all(f"{count:,}" in card.size for count in card.rows.values())
