"""Benchmarks read from their real files, where this machine has them (`real_files.py` says how to give them)."""

from collections import Counter

import pytest
from tests.evaluate.benchmarks.real_files import REAL, VARIABLE, real_folder

from spavl.evaluate.benchmarks import BENCHMARKS, Listed, Unusable


@pytest.mark.parametrize("name", REAL)
def test_the_real_files_have_the_published_number_of_rows(name: str) -> None:
    folder = real_folder(name)
    if folder is None:
        pytest.skip(f"{name}'s files are not here; give a folder that holds {name}/ as {VARIABLE}")
    benchmark = next(one for one in BENCHMARKS if one.card.name == name)
    variants = REAL[name].variants or benchmark.card.variants
    rows = list(benchmark.read(folder, variants))
    assert {row.failure.reason for row in rows if isinstance(row, Unusable)} <= {"missing_picture"}
    if REAL[name].pictures:
        assert any(isinstance(row, Listed) for row in rows)
    assert len(rows) == len({row.row for row in rows}) == sum(REAL[name].counts.values())
    assert benchmark.card.published(variants) == len(rows)
    listed = Counter(row.subset for row in rows if isinstance(row, Listed))
    assert all(count <= REAL[name].counts[subset] for subset, count in listed.items())
