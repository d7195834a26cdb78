"""Ranks responders by safe rate and cuts the ranking into groups (SPA-VL, section 3.3: five groups)."""

from collections.abc import Mapping, Sequence

from spavl.records import Question, Response, SafetyLabel


def safe_rates(
    responses: Sequence[Response], labels: Sequence[SafetyLabel], questions: Mapping[str, Question]
) -> dict[str, float]:
    """Returns responder -> share of its labelled responses to harmful questions that are safe.

    An answer to a benign question is safe whatever it says, so it tells nothing; unlabelled responses are left out.
    """
    responder = {
        response.id: response.responder
        for response in responses
        if questions[response.question_id].question_type.harmful
    }
    verdicts: dict[str, list[bool]] = {}
    for label in labels:
        if label.response_id in responder:
            verdicts.setdefault(responder[label.response_id], []).append(label.verdict == "safe")
    return {name: sum(values) / len(values) for name, values in sorted(verdicts.items())}


def safety_groups(rates: Mapping[str, float], groups: int) -> dict[str, int]:
    """Returns responder -> group, 0 the least safe; groups differ in size by at most one.

    With fewer responders than groups each responder is a group of its own. Equal rates are ordered by name.
    """
    ranked = sorted(rates, key=lambda name: (rates[name], name))
    count = min(groups, len(ranked))
    return {name: place * count // len(ranked) for place, name in enumerate(ranked)}
