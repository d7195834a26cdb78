"""The packing planner, by properties: whatever the rows, a branch of the packed row is the row it stands for."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spavl.errors import UserError
from spavl.train.render import Row
from spavl.train.tree import PackedTrees, deal_rows, pack_rows, plan_epoch, row_tokens

PICTURE = 99
words = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


@st.composite
def row_lists(draw: st.DrawFn) -> list[Row]:
    """Rows about up to three pictures; few words, so that prompts and answers often coincide or begin alike."""
    rows = []
    for number in range(draw(st.integers(1, 12))):
        prompt = (7, PICTURE, PICTURE, 8, *draw(words))
        answers = tuple(draw(st.lists(words, min_size=2, max_size=3)))
        rows.append(Row(f"row-{number}", f"img-{draw(st.integers(0, 2))}", prompt, answers))
    return rows


def branch(packed: PackedTrees, predicting: int) -> tuple[int, ...]:
    """Returns the tokens that the position sees: its ancestors and its node up to itself."""
    place = next(place for place, one in enumerate(packed.segments) if one.start <= predicting < one.end)
    nodes = [packed.segments[node] for node in packed.segments[place].path]
    before = [token for node in nodes for token in packed.tokens[node.start : node.end]]
    return (*before, *packed.tokens[packed.segments[place].start : predicting + 1])


def pack(rows: list[Row], budget: int = 100) -> list[PackedTrees]:
    return pack_rows(rows, range(len(rows)), budget, frozenset({PICTURE}))


@given(row_lists(), st.integers(30, 80))
def test_every_answer_token_is_predicted_from_exactly_the_tokens_of_its_own_row(rows: list[Row], budget: int) -> None:
    for packed in pack(rows, budget):
        for place, answers in zip(packed.rows, packed.row_answers, strict=True):
            row = rows[place]
            assert [packed.answers[answer].tokens for answer in answers] == list(row.answers)
            for answer in answers:
                predicting, tokens, last = packed.answers[answer]
                for number, position in enumerate(predicting):
                    assert branch(packed, position) == row.prompt + tokens[:number]
                assert branch(packed, last) == row.prompt + tokens


@given(row_lists(), st.integers(30, 80))
def test_every_row_is_packed_once_and_no_packed_row_is_over_the_budget(rows: list[Row], budget: int) -> None:
    packed = pack(rows, budget)
    assert sorted(place for one in packed for place in one.rows) == list(range(len(rows)))
    assert all(len(one.tokens) <= budget for one in packed)
    assert all(one.segments[-1].end == len(one.tokens) for one in packed)


@given(row_lists(), st.integers(30, 80))
def test_a_nodes_descendants_stand_directly_behind_it(rows: list[Row], budget: int) -> None:
    for packed in pack(rows, budget):
        for place in range(len(packed.segments)):
            below = [number for number, one in enumerate(packed.segments) if place in one.path]
            assert below == list(range(place + 1, place + 1 + len(below)))


@given(row_lists())
def test_each_tree_shows_its_own_picture_once(rows: list[Row]) -> None:
    for packed in pack(rows, 1000):
        shown = [image_id for _, image_id in packed.pictures]
        assert sorted(shown) == sorted({row.image_id for row in rows})
        for segment, image_id in packed.pictures:
            start, end, _ = packed.segments[segment]
            assert packed.tokens[start:end].count(PICTURE) == 2
            below = [packed.segments[node].path for node in range(len(packed.segments))]
            below_rows = {
                rows[place].image_id
                for place, answers in zip(packed.rows, packed.row_answers, strict=True)
                for answer in answers
                if any(
                    one.start <= packed.answers[answer].predicting[0] < one.end and segment in (*path, node)
                    for node, (one, path) in enumerate(zip(packed.segments, below, strict=True))
                )
            }
            assert below_rows == {image_id}


def test_a_picture_with_three_questions_costs_its_prompt_once() -> None:
    """580 shared + 3 x 36 question + 6 x 150 answer tokens = 1,588; as six rows 6 x (580 + 36 + 150) = 4,596."""
    opening = (1, *(PICTURE,) * 576, 2, 3, 4)
    rows = [Row(f"row-{q}", "img", opening + (10 + q,) * 36, ((20 + q,) * 150, (30 + q,) * 150)) for q in range(3)]
    (packed,) = pack(rows, 4096)
    assert len(packed.tokens) == 580 + 3 * 36 + 6 * 150
    assert sum(map(row_tokens, rows)) == 6 * (580 + 36 + 150)
    assert [one.end - one.start for one in packed.segments] == [580, 36, 150, 150, 36, 150, 150, 36, 150, 150]
    assert [one.path for one in packed.segments[:4]] == [(), (0,), (0, 1), (0, 1)]


def test_equal_questions_and_equal_answers_are_one_node() -> None:
    """Two pairs of one question that share the chosen answer: prompt 3, answers of 2, 1 and 1 tokens."""
    prompt = (PICTURE, 1, 2)
    rows = [Row("a", "img", prompt, ((5, 6), (7,))), Row("b", "img", prompt, ((5, 6), (8,)))]
    (packed,) = pack(rows)
    assert packed.tokens == (PICTURE, 1, 2, 5, 6, 7, 8)
    assert packed.row_answers == ((0, 1), (0, 2))
    assert packed.answers[0].predicting == (2, 3)


@pytest.mark.parametrize(
    ("budget", "lengths"), [(33, [22, 22, 22]), (34, [34, 22]), (45, [34, 22]), (46, [46])], ids=str
)
def test_a_tree_over_the_budget_is_cut_between_questions(budget: int, lengths: list[int]) -> None:
    """Prompt 10 + 3 questions of 2 + 6 answers of 5 = 46; two questions take 34, one takes 22."""
    rows = [Row(f"row-{q}", "img", (PICTURE,) * 10 + (q + 1, q + 1), ((5,) * 5, (6,) * 5)) for q in range(3)]
    packed = pack(rows, budget)
    assert [place for one in packed for place in one.rows] == [0, 1, 2]
    assert [len(one.tokens) for one in packed] == lengths


@pytest.mark.parametrize(("budget", "lengths"), [(29, [20, 20, 20]), (30, [30, 20]), (40, [40])], ids=str)
def test_a_question_over_the_budget_is_cut_between_its_pairs(budget: int, lengths: list[int]) -> None:
    """Prompt 10 and two answers of 5 a pair: one pair takes 20, two take 30, three 40."""
    rows = [Row(f"row-{n}", "img", (PICTURE,) * 10, ((2 * n,) * 5, (2 * n + 1,) * 5)) for n in range(3)]
    assert [len(one.tokens) for one in pack(rows, budget)] == lengths


def test_the_longest_trees_are_packed_first() -> None:
    """Trees of 4, 4, 6 and 6 tokens in 10: 6 + 4 twice; in their order, or the shortest first, it would take three."""
    rows = [Row(f"row-{n}", f"img-{n}", (PICTURE,) * (size - 2), ((1,), (2,))) for n, size in enumerate((4, 4, 6, 6))]
    assert [one.rows for one in pack(rows, 10)] == [(0, 2), (1, 3)]


def test_small_trees_of_several_pictures_share_a_packed_row() -> None:
    rows = [Row(f"row-{number}", f"img-{number}", (PICTURE, 1), ((2,), (3,))) for number in range(3)]
    (packed,) = pack(rows, 12)
    assert [image_id for _, image_id in packed.pictures] == ["img-0", "img-1", "img-2"]
    assert len(packed.tokens) == 12


def test_a_pair_that_does_not_fit_is_an_error_that_names_it_and_its_lengths() -> None:
    rows = [Row("pair-7", "img", (PICTURE,) * 20, ((1,) * 6, (2,) * 5))]
    with pytest.raises(UserError, match=r"pair-7: 20 prompt tokens with answers of 6 and 5 .*=30.*=31"):
        pack(rows, 30)
    assert len(pack(rows, 31)) == 1


@given(row_lists(), st.integers(1, 5), st.integers(0, 9))
def test_an_epoch_holds_every_row_once_in_full_batches(rows: list[Row], batch_size: int, seed: int) -> None:
    steps = plan_epoch(rows, batch_size, None, random.Random(seed))
    assert sorted(place for step in steps for place in step) == list(range(len(rows)))
    assert all(len(step) == batch_size for step in steps[:-1])
    assert steps == plan_epoch(rows, batch_size, None, random.Random(seed))


@settings(max_examples=20)
@given(st.integers(0, 99))
def test_questions_of_a_picture_stay_together_unless_limited(seed: int) -> None:
    """Four pictures with three questions each, batches of three: every batch is one picture.

    Drawn one by one that happens in 4! 3!^4 of 12! orders, one in 15,400.
    """
    rows = [Row(f"row-{n}", f"img-{n // 3}", (PICTURE, n), ((1,), (2,))) for n in range(12)]
    steps = plan_epoch(rows, 3, None, random.Random(seed))
    assert all(len({rows[place].image_id for place in step}) == 1 for step in steps)
    alone = plan_epoch(rows, 3, 1, random.Random(seed))
    assert any(len({rows[place].image_id for place in step}) > 1 for step in alone)


@given(row_lists(), st.integers(1, 5))
def test_every_row_is_dealt_once_in_its_order(rows: list[Row], hands: int) -> None:
    places = list(range(len(rows)))[::-1]
    dealt = deal_rows(rows, places, hands)
    assert len(dealt) == hands and sorted(place for hand in dealt for place in hand) == sorted(places)
    assert all(hand == sorted(hand, reverse=True) for hand in dealt)
    assert sum(bool(hand) for hand in dealt) == min(hands, len(rows))
    assert deal_rows(rows, places, 1) == [places]


def test_the_longest_tree_goes_to_the_process_with_the_least_and_a_picture_stays_whole() -> None:
    """Trees of 5, 4, 3 and 3 tokens: 5 | 4, then 3 to the second (7), then 3 to the first (8)."""
    rows = [Row("a0", "a", (9, 8), ((1,), (2,))), Row("a1", "a", (9, 8), ((1,), (3,)))]
    rows += [Row("b", "b", (9, 8), ((1,), (2,))), Row("c", "c", (9,), ((1,), (2,))), Row("d", "d", (9,), ((1,), (2,)))]
    assert deal_rows(rows, range(5), 2) == [[0, 1, 4], [2, 3]]


def test_a_picture_is_cut_only_where_a_process_would_have_nothing() -> None:
    """One picture with three questions for two processes: one row and two; for four, one has nothing."""
    rows = [Row(f"row-{number}", "a", (9, number), ((1,), (2,))) for number in range(3)]
    assert deal_rows(rows, range(3), 2) == [[1, 2], [0]]
    assert sorted(map(len, deal_rows(rows, range(3), 4))) == [0, 1, 1, 1]
