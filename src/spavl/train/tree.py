"""The packing planner: pairs in, rows of trees out. Pure; knows no model and no tensor.

The pairs of one picture form a tree, prompt → question → answer, and every node stands once in a packed row. A node
sees its ancestors and itself, so what is computed for it is what a row of its own would have given. Prompts share the
tokens that all of a tree's prompts begin with; equal questions and equal answers are one node.

    [ picture and opening | question 1 | answer a | answer b | question 2 | answer c | answer d ]

A tree that is longer than the budget is cut between questions, and a question between its pairs; each part then
repeats the prompt. A single pair that does not fit is an error: nothing is ever cut off.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import NamedTuple, TypeVar

from spavl.errors import UserError
from spavl.train.render import Row

T = TypeVar("T")
Tokens = tuple[int, ...]
Bundle = dict[Tokens, list[int]]
"""Prompt -> the rows that ask it; all about one picture."""


class Segment(NamedTuple):
    """A node's place in a packed row."""

    start: int
    end: int
    path: tuple[int, ...]
    """Its ancestors, as places in `PackedTrees.segments`, the root first."""


class Answer(NamedTuple):
    """An answer's place in a packed row."""

    predicting: tuple[int, ...]
    """The positions whose hidden states predict its tokens: its parent's last one, then its own but the last."""
    tokens: Tokens
    last: int
    """The position of its last token, which has seen all of the answer."""


class PackedTrees(NamedTuple):
    """Several trees in one row of tokens."""

    tokens: Tokens
    segments: tuple[Segment, ...]
    """Cover the row from left to right; a node's descendants stand directly behind it."""
    pictures: tuple[tuple[int, str], ...]
    """(segment, image id) of every node that holds a picture, from left to right."""
    answers: tuple[Answer, ...]
    rows: tuple[int, ...]
    """The packed rows, as places in the list they came from."""
    row_answers: tuple[tuple[int, ...], ...]
    """For each of `rows` its answers, as places in `answers`, in the row's own order."""

    def by_row(self, found: Sequence[T]) -> dict[int, tuple[T, ...]]:
        """Returns for each row what was found for its answers, of which `found` has one each."""
        answers = zip(self.rows, self.row_answers, strict=True)
        return {row: tuple(found[answer] for answer in places) for row, places in answers}


def plan_epoch(
    rows: Sequence[Row], batch_size: int, questions_per_tree: int | None, rng: random.Random
) -> list[list[int]]:
    """Returns the rows of each optimiser step of one epoch; decided by the rows and `rng` alone.

    A picture's questions stay together, up to `questions_per_tree`, and these bundles are shuffled; a step takes the
    next `batch_size` rows, so a bundle may be cut between two steps. A step so sees fewer pictures than one of rows
    drawn one by one, and its gradient varies more; `questions_per_tree=1` draws the questions one by one.

    Args:
        rows: Rendered rows.
        batch_size: Rows of one optimiser step.
        questions_per_tree: Most questions of one bundle; None for all of a picture's.
        rng: Decides the order.
    """
    bundles = []
    for questions in _by_picture(rows, range(len(rows))):
        order = rng.sample(list(questions.values()), len(questions))
        size = questions_per_tree or len(order)
        bundles += [order[start : start + size] for start in range(0, len(order), size)]
    rng.shuffle(bundles)
    stream = [place for bundle in bundles for places in bundle for place in places]
    return [stream[start : start + batch_size] for start in range(0, len(stream), batch_size)]


def pack_rows(
    rows: Sequence[Row], places: Sequence[int], budget: int, picture_tokens: frozenset[int]
) -> list[PackedTrees]:
    """Packs rows into packed rows of at most `budget` tokens: first fit, the longest trees first.

    Args:
        rows: Rendered rows.
        places: Which of them.
        budget: Most tokens of a packed row.
        picture_tokens: Ids that stand for a picture's features.

    Raises:
        UserError: One row alone has more tokens than the budget.
    """
    trees = [tree for questions in _by_picture(rows, places) for tree in _cut(rows, questions, budget)]
    lengths = [_count_tokens(rows, tree) for tree in trees]
    packed: list[list[int]] = []
    room: list[int] = []
    for place in sorted(range(len(trees)), key=lambda place: (-lengths[place], place)):
        fitting = next((number for number, left in enumerate(room) if lengths[place] <= left), len(room))
        if fitting == len(room):
            packed.append([])
            room.append(budget)
        packed[fitting].append(place)
        room[fitting] -= lengths[place]
    return [_pack(rows, [trees[place] for place in sorted(members)], picture_tokens) for members in packed]


def deal_rows(rows: Sequence[Row], places: Sequence[int], hands: int) -> list[list[int]]:
    """Deals a step's rows to processes so that each has about as many tokens: the longest tree to who has the least.

    A picture's rows stay together, for they share its prompt; only where there are fewer pictures than processes, the
    longest trees are cut in two. With more processes than rows, some get none.
    """
    trees = [[place for question in tree.values() for place in question] for tree in _by_picture(rows, places)]

    def tokens(tree: Sequence[int]) -> int:
        return _count_tokens(rows, _by_picture(rows, tree)[0])

    while len(trees) < hands and any(len(tree) > 1 for tree in trees):
        longest = max((tree for tree in trees if len(tree) > 1), key=tokens)
        middle = len(longest) // 2
        trees.remove(longest)
        trees += [longest[:middle], longest[middle:]]
    dealt: list[list[int]] = [[] for _ in range(hands)]
    loads = [0] * hands
    for tree in sorted(trees, key=tokens, reverse=True):
        lightest = loads.index(min(loads))
        dealt[lightest] += tree
        loads[lightest] += tokens(tree)
    return [[place for place in places if place in hand] for hand in dealt]


def row_tokens(row: Row) -> int:
    """Returns the tokens that a row has when each of its answers is a sequence of its own, as peers compute it."""
    return sum(len(row.prompt) + len(answer) for answer in row.answers)


def _by_picture(rows: Sequence[Row], places: Sequence[int]) -> list[Bundle]:
    pictures: dict[str, Bundle] = {}
    for place in places:
        row = rows[place]
        pictures.setdefault(row.image_id, {}).setdefault(row.prompt, []).append(place)
    return list(pictures.values())


def _cut(rows: Sequence[Row], questions: Bundle, budget: int) -> Iterator[Bundle]:
    """Yields trees that fit the budget: questions are added while they fit, and an over-long question's rows alike."""
    tree: Bundle = {}
    for prompt, places in questions.items():
        if _count_tokens(rows, {**tree, prompt: places}) <= budget:
            tree[prompt] = places
            continue
        if tree:
            yield tree
            tree = {}
        for place in places:
            kept = tree.get(prompt, [])
            if _count_tokens(rows, {prompt: [*kept, place]}) > budget:
                if not kept:
                    raise _too_long(rows[place], budget)
                yield tree
                kept = []
            tree = {prompt: [*kept, place]}
    if tree:
        yield tree


def _too_long(row: Row, budget: int) -> UserError:
    answers = [len(answer) for answer in row.answers]
    need = len(row.prompt) + sum(answers)
    return UserError(
        f"Pair {row.id}: {len(row.prompt)} prompt tokens with answers of {' and '.join(map(str, answers))} do not fit "
        f"train.tokens_per_forward={budget}. Set train.tokens_per_forward={need} or more, or leave the pair out; "
        "prompts and answers are never cut."
    )


def _count_tokens(rows: Sequence[Row], tree: Bundle) -> int:
    shared = _shared_opening(list(tree))
    answers = sum(len(answer) for places in tree.values() for answer in _distinct_answers(rows, places))
    return shared + sum(len(prompt) - shared for prompt in tree) + answers


def _shared_opening(prompts: Sequence[Tokens]) -> int:
    """Returns how many tokens all the prompts begin with."""
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, zip(*prompts, strict=False)))


def _distinct_answers(rows: Sequence[Row], places: Sequence[int]) -> list[Tokens]:
    return list(dict.fromkeys(answer for place in places for answer in rows[place].answers))


class _Packer:
    """A packed row in the making."""

    def __init__(self, picture_tokens: frozenset[int]) -> None:
        self._picture_tokens = picture_tokens
        self.tokens: list[int] = []
        self.segments: list[Segment] = []
        self.pictures: list[tuple[int, str]] = []
        self.answers: list[Answer] = []

    def add(self, tokens: Tokens, path: tuple[int, ...], image_id: str) -> tuple[int, ...]:
        """Appends a node under the nodes of `path`, and returns the path of its children."""
        if not tokens:
            return path
        start = len(self.tokens)
        if self._picture_tokens.intersection(tokens):
            self.pictures.append((len(self.segments), image_id))
        self.tokens += tokens
        self.segments.append(Segment(start, len(self.tokens), path))
        return (*path, len(self.segments) - 1)

    def add_answer(self, tokens: Tokens, path: tuple[int, ...], image_id: str) -> int:
        """Appends an answer and returns its place among the answers."""
        start = len(self.tokens)
        self.add(tokens, path, image_id)
        predicting = (self.segments[path[-1]].end - 1, *range(start, start + len(tokens) - 1))
        self.answers.append(Answer(predicting, tokens, last=start + len(tokens) - 1))
        return len(self.answers) - 1


def _pack(rows: Sequence[Row], trees: Sequence[Bundle], picture_tokens: frozenset[int]) -> PackedTrees:
    packer = _Packer(picture_tokens)
    placed: dict[int, tuple[int, ...]] = {}
    for tree in trees:
        image_id = rows[next(iter(tree.values()))[0]].image_id
        shared = _shared_opening(list(tree))
        root = packer.add(next(iter(tree))[:shared], (), image_id)
        for prompt, places in tree.items():
            question = packer.add(prompt[shared:], root, image_id)
            known = {
                answer: packer.add_answer(answer, question, image_id) for answer in _distinct_answers(rows, places)
            }
            placed |= {place: tuple(known[answer] for answer in rows[place].answers) for place in places}
    return PackedTrees(
        tokens=tuple(packer.tokens),
        segments=tuple(packer.segments),
        pictures=tuple(packer.pictures),
        answers=tuple(packer.answers),
        rows=tuple(placed),
        row_answers=tuple(placed.values()),
    )
