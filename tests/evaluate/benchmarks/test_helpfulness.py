"""Anthropic Helpful and LLaVA-Bench: questions for contests."""

from pathlib import Path

import pytest
from tests.evaluate.benchmarks import material, shapes

from spavl.errors import UserError
from spavl.evaluate.benchmarks import Benchmark, Listed, Unusable
from spavl.evaluate.benchmarks.anthropic_helpful import ANTHROPIC_HELPFUL
from spavl.evaluate.benchmarks.llava_bench import LLAVA_BENCH_COCO, LLAVA_BENCH_IN_THE_WILD


def rows(benchmark: Benchmark, folder: Path) -> dict[str, Listed]:
    listed = benchmark.read(folder, benchmark.card.variants)
    return {row.row: row for row in listed if isinstance(row, Listed)}


def test_the_first_message_of_a_dialogue_is_asked(tmp_path: Path) -> None:
    shapes.anthropic_helpful(tmp_path)
    assert rows(ANTHROPIC_HELPFUL, tmp_path)["base/2"].prompt == "helpful-base 2?"


def test_a_dialogue_that_no_person_begins_is_a_failure(tmp_path: Path) -> None:
    material.write_lines(tmp_path / "helpful-base/test.jsonl", [{"chosen": "\n\nAssistant: Hello."}])
    (row,) = ANTHROPIC_HELPFUL.read(tmp_path, ("base",))
    assert isinstance(row, Unusable)
    assert row.failure.reason == "no_question"


@pytest.mark.parametrize("content", [b"version https://git-lfs.github.com/spec/v1\n", b"\x1f\x8b\x08\x00"])
def test_a_packed_file_that_is_a_pointer_or_cut_short_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "helpful-base/test.jsonl.gz"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"test\.jsonl\.gz cannot be read .* Get the file again"):
        list(ANTHROPIC_HELPFUL.read(tmp_path, ("base",)))


def test_llava_bench_brings_the_reference_answer_and_the_captions(tmp_path: Path) -> None:
    shapes.llava_bench_coco(tmp_path)
    row = rows(LLAVA_BENCH_COCO, tmp_path)["1"]
    assert (row.references, row.note) == (("Answer 1",), "The picture: Two cases. A stack.")
    assert (row.category, row.expect) == ("detail", "comply")


def test_a_question_without_reference_or_caption_is_asked_all_the_same(tmp_path: Path) -> None:
    shapes.llava_bench_in_the_wild(tmp_path)
    found = rows(LLAVA_BENCH_IN_THE_WILD, tmp_path)
    assert (found["1"].references, found["1"].note) == (("Answer 1",), "The picture: A placeholder.")
    assert (found["2"].references, found["2"].note) == ((), "")
