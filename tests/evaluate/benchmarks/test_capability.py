"""POPE, the multiple-choice tables and the VQA family."""

from pathlib import Path

from tests.evaluate.benchmarks import material, shapes

from spavl.evaluate.benchmarks import Benchmark, Listed, Unusable
from spavl.evaluate.benchmarks.multiple_choice import MMBENCH, MMMU, SCIENCEQA
from spavl.evaluate.benchmarks.pope import POPE
from spavl.evaluate.benchmarks.vqa import GQA, TEXTVQA, VIZWIZ, VQAV2


def rows(benchmark: Benchmark, folder: Path) -> dict[str, Listed]:
    listed = benchmark.read(folder, benchmark.card.variants)
    return {row.row: row for row in listed if isinstance(row, Listed)}


def reasons(benchmark: Benchmark, folder: Path) -> list[str]:
    listed = benchmark.read(folder, benchmark.card.variants)
    return [row.failure.reason for row in listed if isinstance(row, Unusable)]


def write_choices(folder: Path, name: str, **cells: object) -> None:
    row = {
        "index": 1,
        "question": "Which?",
        "A": "cat",
        "B": "dog",
        "answer": "B",
        "image": material.encoded(1),
    } | cells
    material.write_table(folder / f"{name}.tsv", [row], delimiter="\t")


def test_popes_label_is_the_reference(tmp_path: Path) -> None:
    shapes.pope(tmp_path)
    found = rows(POPE, tmp_path)
    assert (found["random/1"].references, found["random/2"].references) == (("yes",), ("no",))
    assert found["popular/1"].prompt.startswith("Is there a popular in the image?\n")


def test_a_pope_row_without_a_label_is_a_failure(tmp_path: Path) -> None:
    shapes.pope(tmp_path)
    material.write_lines(tmp_path / "output/coco/coco_pope_random.json", [{"image": "x.jpg", "text": "Placeholder?"}])
    assert reasons(POPE, tmp_path) == ["no_answer"]


def test_choices_are_offered_with_letters_and_end_at_the_first_empty_one(tmp_path: Path) -> None:
    shapes.multiple_choice(tmp_path, name="ScienceQA_TEST")
    found = rows(SCIENCEQA, tmp_path)
    request = "Answer with the option's letter from the given choices directly."
    assert found["7"].prompt == f"Which?\nA. cat\nB. dog\nC. cow\n{request}"
    assert found["8"].prompt == f"And now?\nA. red\nB. blue\n{request}"
    assert (found["7"].choices, found["7"].references) == (("cat", "dog", "cow"), ("B",))


def test_a_hint_stands_before_the_question(tmp_path: Path) -> None:
    write_choices(tmp_path, "ScienceQA_TEST", hint="Look closely.")
    assert rows(SCIENCEQA, tmp_path)["1"].prompt.startswith("Look closely.\nWhich?\n")


def test_a_picture_cell_that_names_an_earlier_row_has_that_rows_picture(tmp_path: Path) -> None:
    shapes.multiple_choice(tmp_path, name="ScienceQA_TEST")
    assert [row.picture for row in rows(SCIENCEQA, tmp_path).values()] == [material.picture(1)] * 2


def test_a_circular_question_is_asked_in_every_order_with_its_letter_following(tmp_path: Path) -> None:
    """B (dog) of cat, dog, cow: rotated by one it is A of dog, cow, cat; by two it is C of cow, cat, dog."""
    shapes.multiple_choice(tmp_path, name="MMBench_DEV_EN")
    found = rows(MMBENCH, tmp_path)
    orders = [found[f"7/{turn}"] for turn in range(3)]
    assert [(row.choices, row.references) for row in orders] == [
        (("cat", "dog", "cow"), ("B",)),
        (("dog", "cow", "cat"), ("A",)),
        (("cow", "cat", "dog"), ("C",)),
    ]
    assert [row.subset for row in orders] == ["published", "rotated", "rotated"]
    assert {row.cluster for row in orders} == {"7"}


def test_a_rotated_copy_in_the_file_is_left_out_and_counted(tmp_path: Path) -> None:
    write_choices(tmp_path, "MMBench_DEV_EN", index=1_000_241)
    (row,) = MMBENCH.read(tmp_path, MMBENCH.card.variants)
    assert isinstance(row, Unusable)
    assert (row.failure.reason, row.failure.dropped) == ("rotated_copy", True)


def test_questions_that_no_letter_answers_are_failures(tmp_path: Path) -> None:
    for cells, reason in (
        ({"A": "nan", "B": "nan"}, "no_choices"),
        ({"answer": "nan"}, "no_answer"),
        ({"answer": "C"}, "no_answer"),
        ({"answer": "AB"}, "no_answer"),
        ({"image": "['aGVsbG8=', 'aGVsbG8=', 'aGVsbG8=', 'aGVsbG8=', 'aGVsbG8=', 'aGVsbG8=']"}, "missing_picture"),
        ({"question": ""}, "no_question"),
    ):
        write_choices(tmp_path, "MMMU_DEV_VAL", **cells)
        assert reasons(MMMU, tmp_path) == [reason], cells


def test_vqas_ten_answers_are_found_by_question(tmp_path: Path) -> None:
    shapes.vqav2(tmp_path)
    row = rows(VQAV2, tmp_path)["420"]
    assert (row.references, row.category) == (("yes",) * 10, "yes/no")
    assert row.prompt == "Placeholder question 420\nAnswer the question using a single word or phrase."


def test_a_question_with_fewer_than_ten_answers_is_a_failure(tmp_path: Path) -> None:
    shapes.textvqa(tmp_path)
    one = {"question_id": 1, "question": "Placeholder?", "image_id": "t1", "answers": ["nokia"] * 9}
    material.write_json(tmp_path / "TextVQA_0.5.1_val.json", {"data": [one]})
    assert reasons(TEXTVQA, tmp_path) == ["no_answer"]


def test_vizwiz_says_how_to_answer_what_cannot_be(tmp_path: Path) -> None:
    shapes.vizwiz(tmp_path)
    row = rows(VIZWIZ, tmp_path)["1"]
    assert (row.references[0], row.category) == ("unanswerable", "unanswerable")
    assert "respond with 'Unanswerable'" in row.prompt


def test_the_vqa_family_is_read_from_tables_too(tmp_path: Path) -> None:
    shared = {"index": 3, "image": material.encoded(2), "question": "Placeholder?"}
    material.write_table(tmp_path / "GQA_TestDev_Balanced.tsv", [shared | {"answer": "left"}], delimiter="\t")
    material.write_table(tmp_path / "TextVQA_VAL.tsv", [shared | {"answer": str(["nokia"] * 10)}], delimiter="\t")
    assert rows(GQA, tmp_path)["3"].references == ("left",)
    text = rows(TEXTVQA, tmp_path)["3"]
    assert (text.references, text.picture) == (("nokia",) * 10, material.picture(2))
