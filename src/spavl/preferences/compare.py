"""Draws the pairs of responses that are compared: two responders of different safety groups, in both orders."""

import itertools
import random
from collections.abc import Mapping, Sequence

from spavl.records import Comparison, Response


def draw_comparisons(
    responses: Sequence[Response], groups: Mapping[str, int], per_question: int, seed: int
) -> list[Comparison]:
    """Returns the comparisons of every question, each drawn pair in both orders.

    The draw of a question depends on the seed and the question alone. Two responses with the same text are not
    compared, nor are responders without a group (none of their responses could be labelled).

    Args:
        responses: All responses.
        groups: Responder -> safety group.
        per_question: Most pairs of one question.
        seed: The run's seed.
    """
    by_question: dict[str, list[Response]] = {}
    for response in responses:
        if response.responder in groups:
            by_question.setdefault(response.question_id, []).append(response)
    comparisons = []
    for question_id, answers in by_question.items():
        pairs = [
            (first, second)
            for first, second in itertools.combinations(sorted(answers, key=lambda answer: answer.responder), 2)
            if groups[first.responder] != groups[second.responder] and first.text != second.text
        ]
        chosen = random.Random(f"{seed}/{question_id}").sample(pairs, min(per_question, len(pairs)))
        for first, second in chosen:
            comparisons.append(Comparison(question_id=question_id, first_id=first.id, second_id=second.id))
            comparisons.append(Comparison(question_id=question_id, first_id=second.id, second_id=first.id))
    return comparisons
