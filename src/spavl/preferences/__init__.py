"""The preference stations: label responses, compare across safety groups, judge both orders, keep what agrees."""

from spavl.preferences.compare import draw_comparisons
from spavl.preferences.groups import safe_rates, safety_groups
from spavl.preferences.judge import judge_comparisons
from spavl.preferences.label import label_responses
from spavl.preferences.opinions import hear_opinions
from spavl.preferences.resolve import resolve

__all__ = [
    "draw_comparisons",
    "hear_opinions",
    "judge_comparisons",
    "label_responses",
    "resolve",
    "safe_rates",
    "safety_groups",
]
