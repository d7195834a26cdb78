"""Ranks responders by safe rate and cuts the ranking into groups (SPA-VL, section 3.3: five groups)."""

from collections import Counter
from collections.abc import Iterable, Mapping

from spavl.records import Question, Response, SafetyLabel


def safe_rates(
    responses: Iterable[Response], labels: Mapping[str, SafetyLabel], questions: Mapping[str, Question]
) -> dict[str, float]:
    """Returns responder -> share of its labelled responses to harmful questions that are safe.

    An answer to a benign question is safe whatever it says, so it tells nothing; unlabelled responses are left out.

    Args:
        responses: All responses.
        labels: Response id -> its label.
        questions: Question id -> question.
    """
    benign = {name for name, question in questions.items() if not question.question_type.harmful}
    safe: Counter[str] = Counter()
    labelled: Counter[str] = Counter()
    for response in responses:
        label = None if response.question_id in benign else labels.get(response.id)
        if label is not None:
            labelled[response.responder] += 1
            safe[response.responder] += label.verdict == "safe"
    return {name: safe[name] / labelled[name] for name in sorted(labelled)}


def safety_groups(rates: Mapping[str, float], groups: int) -> dict[str, int]:
    """Returns responder -> group, 0 the least safe; groups differ in size by at most one.

    With fewer responders than groups each responder is a group of its own. Equal rates are ordered by name.
    """
    ranked = sorted(rates, key=lambda name: (rates[name], name))
    count = min(groups, len(ranked))
    return {name: place * count // len(ranked) for place, name in enumerate(ranked)}
