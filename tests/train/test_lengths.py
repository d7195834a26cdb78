"""Pairs that are too long are all named, or left out and counted; nothing is cut."""

import pytest
from tests.train.material import make_pairs, settings

from spavl.errors import UserError
from spavl.train.lengths import fitting_pairs
from spavl.train.render import Row

PICTURE = 9


def rows_of(*chosen: int) -> list[Row]:
    """Rows of two picture tokens, three of the question, a rejected answer of 4 and chosen ones of these lengths."""
    return [
        Row(f"p-{place}", "i", (PICTURE, PICTURE, 1, 1, 1), ((5,) * own, (6,) * 4)) for place, own in enumerate(chosen)
    ]


@pytest.mark.parametrize(
    ("limits", "fits"),
    [
        ({"max_length": 15}, True),
        ({"max_length": 14}, False),
        ({"tokens_per_forward": 19}, True),
        ({"tokens_per_forward": 18}, False),
    ],
)
def test_a_pair_may_be_exactly_as_long_as_a_limit(limits: dict[str, int], fits: bool) -> None:
    """Prompt 5 with the longer answer of 10 is 15, with both 19."""
    config = settings(too_long="drop", **limits)
    rows = rows_of(10, 1)
    assert fitting_pairs(make_pairs(2), rows, config, PICTURE).rows == (rows if fits else rows[1:])


def test_equal_answers_count_once_in_a_packed_row() -> None:
    (row,) = rows_of(4)
    assert row.packed_length == 13
    assert row._replace(answers=((6,) * 4, (6,) * 4)).packed_length == 9


def test_all_that_do_not_fit_are_named_with_their_lengths() -> None:
    """The second and the fourth: 5 + 30 = 35 and 5 + 31 + 4 = 40 are the most."""
    first, second, third, fourth = make_pairs(4)
    second = second.model_copy(update={"read_from": "train row 4711 (in train.parquet)"})
    pairs, rows = [first, second, third, fourth], rows_of(1, 30, 2, 31)
    with pytest.raises(UserError) as caught:
        fitting_pairs(pairs, rows, settings(max_length=20, tokens_per_forward=34), PICTURE)
    assert str(caught.value) == (
        "2 of 4 pairs do not fit train.max_length=20 and train.tokens_per_forward=34; in tokens: train row 4711 (in "
        f"train.parquet) (picture 2, question 3, answers 30 and 4); pair {fourth.id} (picture 2, question 3, answers "
        "31 and 4). Set train.max_length=36 and train.tokens_per_forward=40 or more, or leave them out with "
        "train.too_long=drop; prompts and answers are never cut."
    )


def test_beyond_ten_they_are_counted() -> None:
    """With both answers they have 5 + 30 + 4 = 39 tokens, which is just allowed and so not named."""
    pairs = make_pairs(13)
    with pytest.raises(UserError, match=r"^12 of 13 pairs .*; and 2 more\. Set") as caught:
        fitting_pairs(pairs, rows_of(*[30] * 12, 1), settings(max_length=20, tokens_per_forward=39), PICTURE)
    assert sum(pair.id in str(caught.value) for pair in pairs) == 10
    assert "tokens_per_forward" not in str(caught.value)


def test_those_left_out_are_counted_and_the_others_keep_their_order() -> None:
    pairs, rows = make_pairs(4), rows_of(1, 30, 2, 31)
    found = fitting_pairs(pairs, rows, settings(max_length=20, too_long="drop"), PICTURE)
    assert found == ([pairs[0], pairs[2]], [rows[0], rows[2]], 2)


@pytest.mark.parametrize("too_long", ["drop", "error"])
def test_where_nothing_fits_a_range_is_named_and_leaving_out_is_no_advice(too_long: str) -> None:
    """5 + 30 = 35 and 5 + 31 = 36 tokens; with the rejected answer's 4 they have 39 and 40."""
    config = settings(max_length=20, tokens_per_forward=39, too_long=too_long)
    with pytest.raises(UserError) as caught:
        fitting_pairs(make_pairs(2), rows_of(30, 31), config, PICTURE)
    assert str(caught.value) == (
        "2 of 2 pairs do not fit train.max_length=20 and train.tokens_per_forward=39; in tokens: from 35 to 36 and "
        "from 39 to 40. Set train.max_length=36 and train.tokens_per_forward=40 or more; prompts and answers are never "
        "cut."
    )
