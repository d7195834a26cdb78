"""Draws the pairs of responses that are compared: two responders of different safety groups, in both orders."""

import hashlib
import itertools
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from spavl.records import Comparison, Response
from spavl.store import Places

_PREFIX = f"{Response.prefix}-"
N = TypeVar("N")


class _Answer(NamedTuple, Generic[N]):
    """What the draw has to know of a response, or of all of them as columns."""

    responder: N
    text: N
    """A number that stands for its text."""
    id: N
    """The digits of its id."""


class Comparisons(Mapping[str, Comparison]):
    """Comparison id -> comparison, both orders of a pair one after the other; a pair takes some tens of bytes.

    Args:
        questions: Question id of each pair.
        pairs: The digits of two responses' ids, pair after pair.
    """

    def __init__(self, questions: list[str], pairs: Sequence[int]) -> None:
        self._questions, self._pairs = questions, pairs
        self._places = Places((comparison.id, place) for place, comparison in enumerate(self._each()))

    def __len__(self) -> int:
        """Returns how many comparisons there are."""
        return 2 * len(self._questions)

    def __iter__(self) -> Iterator[str]:
        """Yields the ids."""
        return (comparison.id for comparison in self._each())

    def __getitem__(self, name: str) -> Comparison:
        """Returns the comparison of that id."""
        place = self._places.get(name)
        if place is None:
            raise KeyError(name)
        return self._at(place)

    def pairs(self) -> Iterator[tuple[Comparison, Comparison]]:
        """Yields both orders of each pair."""
        return ((self._at(place), self._at(place + 1)) for place in range(0, len(self), 2))

    def _each(self) -> Iterator[Comparison]:
        return map(self._at, range(len(self)))

    def _at(self, place: int) -> Comparison:
        first, second = (_id(self._pairs[one]) for one in (place, place ^ 1))  # the other order has the next place
        return Comparison(question_id=self._questions[place // 2], first_id=first, second_id=second)


def draw_comparisons(
    responses: Iterable[Response], groups: Mapping[str, int], per_question: int, seed: int
) -> Comparisons:
    """Returns the comparisons of every question, each drawn pair in both orders.

    The draw of a question depends on the seed and the question alone, and each pair's rank in it on its responders: one
    more responder, or one in another group, changes no pair but for its own. Two responses with the same text are not
    compared, nor are responders without a group (none of their responses could be labelled).

    Args:
        responses: All responses.
        groups: Responder -> safety group.
        per_question: Most pairs of one question.
        seed: The run's seed.
    """
    names = sorted(groups)
    group = [groups[name] for name in names]
    questions: list[str] = []
    drawn = array("Q")
    for question_id, answers in _by_question(responses, names):
        pairs = [
            (_rank(seed, question_id, names[first.responder], names[second.responder]), first.id, second.id)
            for first, second in itertools.combinations(answers, 2)
            if group[first.responder] != group[second.responder] and first.text != second.text
        ]
        for _, first_id, second_id in sorted(pairs)[:per_question]:
            questions.append(question_id)
            drawn.extend((first_id, second_id))
    return Comparisons(questions, drawn)


def _rank(seed: int, question_id: str, *responders: str) -> bytes:
    return hashlib.blake2b("\n".join((str(seed), question_id, *responders)).encode(), digest_size=8).digest()


def _by_question(responses: Iterable[Response], responders: list[str]) -> Iterator[tuple[str, list[_Answer[int]]]]:
    """Yields every question with its answers in the order of their responders; of a response only numbers are kept."""
    number = {name: place for place, name in enumerate(responders)}
    names: list[str] = []
    places = Places()
    questions, columns = array("I"), _Answer(array("H"), array("Q"), array("Q"))
    for response in responses:
        if response.responder not in number:
            continue
        place = places.get(response.question_id)
        if place is None:
            place = len(names)
            places.put(response.question_id, place)
            names.append(response.question_id)
        questions.append(place)
        columns.responder.append(number[response.responder])
        columns.text.append(_digest(response.text))
        columns.id.append(int(response.id.removeprefix(_PREFIX), 16))
    order = np.lexsort((np.array(columns.responder, np.uint16), np.array(questions, np.uint32)))
    ends = np.cumsum(np.bincount(np.array(questions, np.uint32), minlength=len(names)))
    begin = 0
    for name, end in zip(names, ends, strict=True):
        yield name, [_Answer(*(column[place] for column in columns)) for place in order[begin:end].tolist()]
        begin = end


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest())


def _id(digits: int) -> str:
    return f"{_PREFIX}{digits:016x}"
