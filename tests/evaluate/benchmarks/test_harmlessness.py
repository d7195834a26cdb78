"""The other harmlessness benchmarks: what is asked, what is expected, what the judge is told."""

from pathlib import Path

import pytest
from tests.evaluate.benchmarks import material, shapes

from spavl.errors import UserError
from spavl.evaluate.benchmarks import Benchmark, Listed, Unusable
from spavl.evaluate.benchmarks.figstep import CARRIER, FIGSTEP, FIGSTEP_TINY
from spavl.evaluate.benchmarks.harmbench_mm import HARMBENCH_MM
from spavl.evaluate.benchmarks.jailbreakv import JAILBREAKV
from spavl.evaluate.benchmarks.mssbench import MSSBENCH
from spavl.evaluate.benchmarks.siuo import SIUO
from spavl.evaluate.benchmarks.vlguard import VLGUARD
from spavl.evaluate.benchmarks.vlsbench import VLSBENCH


def rows(benchmark: Benchmark, folder: Path) -> dict[str, Listed]:
    listed = benchmark.read(folder, benchmark.card.variants)
    return {row.row: row for row in listed if isinstance(row, Listed)}


def name(row: Listed) -> str:
    assert isinstance(row.picture, Path)
    return row.picture.name


def test_figstep_asks_its_carrier_about_each_picture_and_tells_the_judge_the_question(tmp_path: Path) -> None:
    shapes.figstep(tmp_path)
    row = rows(FIGSTEP, tmp_path)["1_2"]
    assert (row.prompt, name(row)) == (CARRIER, "query_ForbidQI_1_2_6.png")
    assert row.note == "The picture's empty list stands for this question: Placeholder harmful question 2?"


def test_figsteps_tiny_version_has_pictures_of_its_own(tmp_path: Path) -> None:
    shapes.figstep(tmp_path)
    picture = rows(FIGSTEP_TINY, tmp_path)["1_1"].picture
    assert isinstance(picture, Path)
    assert picture.parent.name == "SafeBench-Tiny"


def test_vlguards_safe_picture_has_two_instructions_and_its_unsafe_one_has_one(tmp_path: Path) -> None:
    shapes.vlguard(tmp_path)
    assert [(row.subset, row.prompt, row.expect, name(row)) for row in rows(VLGUARD, tmp_path).values()] == [
        ("safe_safes", "Placeholder safe instruction", "comply", "0.png"),
        ("safe_unsafes", "Placeholder unsafe instruction", "refuse", "0.png"),
        ("unsafes", "Placeholder instruction", "refuse", "1.png"),
    ]


def test_a_vlguard_row_that_lacks_an_instruction_is_a_failure(tmp_path: Path) -> None:
    shapes.vlguard(tmp_path)
    material.write_json(tmp_path / "test.json", [{"image": "placeholder/1.png", "safe": False, "instr-resp": []}])
    (row,) = VLGUARD.read(tmp_path, VLGUARD.card.variants)
    assert isinstance(row, Unusable)
    assert row.failure.message == "no `instruction` in `instr-resp`"


def test_siuos_judge_is_told_the_warning(tmp_path: Path) -> None:
    shapes.siuo(tmp_path)
    row = rows(SIUO, tmp_path)["S-01"]
    assert row.note == "What is unsafe about it: Placeholder warning 1"
    assert (row.expect, row.references) == ("refuse", ("Placeholder answer 1",))


def test_vlsbench_is_read_in_the_older_form_too(tmp_path: Path) -> None:
    shapes.vlsbench(tmp_path)
    older = [{"instruction_id": 5, "instruction": "Placeholder", "image": "1.png", "category": "Placeholder"}]
    assert rows(VLSBENCH, tmp_path)["0"].note == "What is unsafe about it: Placeholder reason 0"
    material.write_json(tmp_path / "data.json", older)
    row = rows(VLSBENCH, tmp_path)["5"]
    assert (name(row), row.note) == ("1.png", "")


def test_mssbench_asks_a_chat_question_in_both_situations_as_one_cluster(tmp_path: Path) -> None:
    shapes.mssbench(tmp_path)
    found = rows(MSSBENCH, tmp_path)
    safe, unsafe = found["chat/0/1/safe"], found["chat/0/1/unsafe"]
    assert safe.prompt == unsafe.prompt == "Placeholder query 1"
    assert (safe.expect, name(safe)) == ("comply", "0.jpg")
    assert (unsafe.expect, name(unsafe)) == ("refuse", "1.jpg")
    assert safe.cluster == unsafe.cluster == "chat/0"


def test_mssbench_gives_a_robot_each_scenes_own_instruction(tmp_path: Path) -> None:
    shapes.mssbench(tmp_path)
    found = rows(MSSBENCH, tmp_path)
    safe, unsafe = found["embodied/0/0/safe"], found["embodied/0/0/unsafe"]
    assert (safe.prompt, safe.expect, name(safe)) == ("Placeholder safe instruction", "comply", "safe_0.png")
    assert (unsafe.prompt, unsafe.expect, name(unsafe)) == ("Placeholder unsafe instruction", "refuse", "unsafe_0.png")


def test_jailbreaks_of_one_query_are_one_cluster_and_its_judge_is_told_it(tmp_path: Path) -> None:
    shapes.jailbreakv(tmp_path)
    found = rows(JAILBREAKV, tmp_path)
    assert {row.cluster for row in found.values()} == {"Placeholder harmful query"}
    assert [row.subset for row in found.values()] == ["Template", "Persuade"]
    assert found["0"].note == "The query behind it: Placeholder harmful query"


def test_harmbenchs_picture_named_jpg_is_found_as_png_and_described_to_the_judge(tmp_path: Path) -> None:
    shapes.harmbench_mm(tmp_path)
    row = rows(HARMBENCH_MM, tmp_path)["placeholder_0"]
    assert (name(row), row.note) == ("placeholder_0.png", "The picture: Placeholder [redacted] picture")


def test_a_picture_outside_of_the_folder_is_not_read(tmp_path: Path) -> None:
    shapes.siuo(tmp_path / "siuo")
    material.write_picture(tmp_path / "secret.png", 9)
    for place in ("../../secret.png", str(tmp_path / "secret.png"), "x" * 5000, "a\0b"):
        material.write_json(tmp_path / "siuo/siuo_gen.json", [{"image": place, "question": "Placeholder?"}])
        (row,) = SIUO.read(tmp_path / "siuo", ())
        assert isinstance(row, Unusable)
        assert row.failure.reason == "missing_picture"


def test_a_picture_that_is_a_link_into_the_hubs_cache_is_read(tmp_path: Path) -> None:
    shapes.siuo(tmp_path / "snapshot")
    image = tmp_path / "snapshot/images/S-01.png"
    image.rename(tmp_path / "blob")
    image.symlink_to(tmp_path / "blob")
    assert name(rows(SIUO, tmp_path / "snapshot")["S-01"]) == "S-01.png"


@pytest.mark.parametrize("held", ["[1]", '"text"', '{"chat": 3}', "[]"])
def test_json_of_another_form_is_refused(tmp_path: Path, held: str) -> None:
    (tmp_path / "combined.json").write_text(held)
    with pytest.raises(UserError, match=r"combined\.json: JSON objects are expected under `chat`"):
        rows(MSSBENCH, tmp_path)
