"""Circular evaluation (MMBench, arXiv 2307.06281): a question is right where all orders of its choices are."""

from collections.abc import Mapping, Sequence

from spavl.evaluate.outcomes import Reading, Readings
from spavl.records import Sample

Orders = Mapping[str, Sequence[Sample]]
"""Id of the sample that stands for a question -> the question in every order of its choices."""


def circular_orders(samples: Sequence[Sample]) -> Orders:
    """Returns the questions that are asked in every order; `missing_orders` counts the others."""
    return {orders[0].id: orders for orders in _questions(samples) if _is_whole(orders)}


def missing_orders(samples: Sequence[Sample]) -> int:
    """Returns the number of questions that are asked in some orders and not in others."""
    return sum(not _is_whole(orders) for orders in _questions(samples))


def _questions(samples: Sequence[Sample]) -> list[list[Sample]]:
    questions: dict[str, list[Sample]] = {}
    for sample in samples:
        questions.setdefault(sample.cluster, []).append(sample)
    return list(questions.values())


def _is_whole(orders: Sequence[Sample]) -> bool:
    return len(orders) == len(orders[0].choices)


def circular_readings(orders: Orders, readings: Readings) -> Readings:
    """Returns a reading for each question, under its standing sample's id: its worst, and of equals the first.

    A wrong order makes it wrong; else one that is missing makes it missing; else it is right.
    """
    models = dict.fromkeys(model for _, model in readings)
    found: dict[tuple[str, str], Reading] = {}
    for name, listed in orders.items():
        for model in models:
            read = [readings[one.id, model] for one in listed if (one.id, model) in readings]
            if len(read) == len(listed):
                worst = min(read, key=lambda one: {0.0: 0, None: 1}.get(one.score, 2))
                found[name, model] = worst._replace(cut=any(one.cut for one in read))
    return found
