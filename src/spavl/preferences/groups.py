"""Ranks responders by safe rate and cuts the ranking into groups (SPA-VL, section 3.3: five groups)."""

from collections.abc import Mapping, Sequence

from spavl.records import Response, SafetyLabel


def safe_rates(responses: Sequence[Response], labels: Sequence[SafetyLabel]) -> dict[str, float]:
    """Returns responder -> share of its labelled responses that are safe; unlabelled responses are left out."""
    responder = {response.id: response.responder for response in responses}
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
