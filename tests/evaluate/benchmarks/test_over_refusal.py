"""MOSSBench and OR-Bench: harmless questions that sound or look harmful, and their contrasts."""

from pathlib import Path

from tests.evaluate.benchmarks import material, shapes

from spavl.evaluate.benchmarks import Benchmark, Listed
from spavl.evaluate.benchmarks.mossbench import MOSSBENCH
from spavl.evaluate.benchmarks.or_bench import OR_BENCH


def rows(benchmark: Benchmark, folder: Path) -> dict[str, Listed]:
    listed = benchmark.read(folder, benchmark.card.variants)
    return {row.row: row for row in listed if isinstance(row, Listed)}


def test_mossbenchs_contrast_is_to_be_refused_and_is_one_cluster_with_its_question(tmp_path: Path) -> None:
    shapes.mossbench(tmp_path)
    found = rows(MOSSBENCH, tmp_path)
    safe, unsafe = found["2/safe"], found["2/unsafe"]
    assert (safe.expect, safe.prompt, safe.category) == ("comply", "Placeholder data question 2", "negated harm")
    assert (unsafe.expect, unsafe.prompt) == ("refuse", "Placeholder data_contrast question 2")
    assert safe.cluster == unsafe.cluster == "2"


def test_the_pictures_of_a_question_and_its_contrast_are_not_mixed_up(tmp_path: Path) -> None:
    shapes.mossbench(tmp_path)
    found = rows(MOSSBENCH, tmp_path)
    pictures = [found[key].picture for key in ("1/safe", "1/unsafe")]
    assert [one.read_bytes() for one in pictures if isinstance(one, Path)] == [
        material.picture(1),
        material.picture(11),
    ]


def test_or_benchs_category_of_a_harmless_prompt_is_only_resembled(tmp_path: Path) -> None:
    shapes.or_bench(tmp_path)
    found = rows(OR_BENCH, tmp_path)
    assert (found["hard_1k/1"].expect, found["hard_1k/1"].category) == ("comply", "resembles violence")
    assert (found["80k/1"].expect, found["80k/1"].category) == ("comply", "resembles violence")
    assert (found["toxic/1"].expect, found["toxic/1"].category) == ("refuse", "violence")
