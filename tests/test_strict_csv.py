"""CSV whose quotation marks are closed."""

import io

import pytest

from spavl.strict_csv import parse_csv


def table(text: str, **settings: int) -> list[tuple[int, dict[str, str]]]:
    return list(parse_csv(io.StringIO(text, newline=""), **settings).rows)


def test_rows_come_with_the_line_that_they_begin_in() -> None:
    """The first row's field holds a line end, so the second begins in line 4."""
    assert table('a,b\n"one\ntwo",1\nthree,2\n') == [(2, {"a": "one\ntwo", "b": "1"}), (4, {"a": "three", "b": "2"})]
    assert table("") == table("a,b\n") == []


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('a\n1\n"2\n3\n', "row 2, which begins in line 3: unexpected end of data; is a quotation mark not closed"),
        ('a\n"1" 2\n', "row 1, which begins in line 2: ',' expected after"),
        ('"a\n1\n', "the heading: unexpected end of data"),
        ("a\n12345\n", r"row 1, which begins in line 2: field larger than field limit \(4\)"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(text: str, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        table(text, longest_field=4)


def test_two_tables_that_are_read_in_turns_keep_their_own_limits() -> None:
    narrow = parse_csv(io.StringIO("a\n1\n2\n"), longest_field=4)
    wide = parse_csv(io.StringIO("a\n12345\n12345\n"), longest_field=9)
    assert [row["a"] for pair in zip(narrow.rows, wide.rows, strict=True) for _, row in pair] == [
        "1", "12345", "2", "12345",
    ]  # fmt: skip
