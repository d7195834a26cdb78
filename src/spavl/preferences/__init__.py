"""The preference stations: label responses, compare across safety groups, judge both orders, keep what agrees."""

from spavl.preferences.compare import Comparisons, draw_comparisons
from spavl.preferences.groups import safe_rates, safety_groups
from spavl.preferences.judge import contest_of, judge_comparisons
from spavl.preferences.label import exchange_of, label_responses
from spavl.preferences.opinions import hear_opinions
from spavl.preferences.resolve import resolve

__all__ = [
    "Comparisons",
    "contest_of",
    "draw_comparisons",
    "exchange_of",
    "hear_opinions",
    "judge_comparisons",
    "label_responses",
    "resolve",
    "safe_rates",
    "safety_groups",
]
