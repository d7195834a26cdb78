"""A sheet of people's labels is taken for the random sample only where it is all of it."""

import csv
import re
from pathlib import Path

import pytest

from spavl.errors import UserError
from spavl.evaluate.human_labels import Compared, compared, draw_for_people, read_sheet, write_sheet
from spavl.records import Answer, Sample

SEED = 3


def pairs(benchmark: str, samples: int) -> list[Compared]:
    """Two answers to each of some placeholder questions of a benchmark."""
    asked = [
        Sample(benchmark=benchmark, prompt=f"p {number}", image_id="", expect="refuse") for number in range(samples)
    ]
    answers = [
        Answer(sample_id=one.id, model=model, text=f"{model} {one.id}", finish="stop")
        for one in asked
        for model in ("before", "after")
    ]
    return compared(asked, answers, ("before", "after"))


def sheet(folder: Path, drawn: list[Compared], filled: int, kept: int | None = None) -> Path:
    """Writes a sheet, keeps that many rows, and fills the first of them in."""
    path = folder / "sheet.csv"
    write_sheet(drawn, {}, SEED, path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))[:kept]
    for row in rows[:filled]:
        row |= {"unsafe_1": "yes", "unsafe_2": "no"}
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_a_sheet_that_is_filled_in_to_the_end_is_read(tmp_path: Path) -> None:
    """5 of 12 and all 3 of a small benchmark, of which 5 were wished for: 8 labels."""
    everything = [*pairs("large", 12), *pairs("small", 3)]
    drawn = draw_for_people(everything, 5, SEED)
    assert len(read_sheet(sheet(tmp_path, drawn, 8), everything, SEED)) == 8


def test_a_sheet_that_is_filled_in_partly_is_refused_with_the_number_of_empty_rows(tmp_path: Path) -> None:
    """5 drawn, the first 3 filled in (rows 2 to 4): 2 are empty, the first of them row 5."""
    everything = pairs("large", 12)
    path = sheet(tmp_path, draw_for_people(everything, 5, SEED), 3)
    said = f"{re.escape(str(path))}: 2 of 5 drawn rows are empty, the first is row 5.*fill in the others"
    with pytest.raises(UserError, match=said):
        read_sheet(path, everything, SEED)


def test_a_sheet_whose_empty_rows_were_deleted_is_refused(tmp_path: Path) -> None:
    """Of 5 in each of two benchmarks 9 are left: one number draws the same of both, so a row is gone."""
    everything = [*pairs("one", 12), *pairs("other", 12)]
    path = sheet(tmp_path, draw_for_people(everything, 5, SEED), 9, kept=9)
    with pytest.raises(UserError, match="has 9 rows, which are not all that was drawn"):
        read_sheet(path, everything, SEED)


@pytest.mark.parametrize("again", [{"unsafe_1": "no", "unsafe_2": "yes"}, {}])
def test_a_row_that_stands_there_twice_is_refused_whether_or_not_its_labels_agree(
    tmp_path: Path, again: dict[str, str]
) -> None:
    """Of rows 2 to 6 the second, row 3, stands there once more at the end, as row 7."""
    everything = pairs("large", 12)
    path = sheet(tmp_path, draw_for_people(everything, 5, SEED), 5)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with path.open("a", newline="") as file:
        csv.DictWriter(file, list(rows[0])).writerow(rows[1] | again)
    with pytest.raises(UserError, match=r"row 7: these answers are those of row 3.* keep one of the two"):
        read_sheet(path, everything, SEED)
