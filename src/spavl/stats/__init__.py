"""How sure a number is: intervals, paired changes, win rates and agreement, as pure functions of values.

Every estimate comes with its number of items and its interval. What there is no item for raises `NotMeasured`, and
whoever asked prints "not measured", never 0; sequences of unequal length and other slips raise a plain `ValueError`.
It corrects no judge's errors and plots nothing.
"""

from spavl.stats.agreement import (
    Agreement,
    JudgeAccuracy,
    alpha_among,
    cohen_kappa,
    kappa_between,
    krippendorff_alpha,
    sensitivity_specificity,
)
from spavl.stats.bootstrap import cluster_bootstrap_rate
from spavl.stats.paired import PairedChange, holm, mcnemar_exact, paired_change
from spavl.stats.rates import Interval, NotMeasured, Rate, bounds, wilson
from spavl.stats.strengths import Match, Strength, bradley_terry
from spavl.stats.wins import CREDIT, Outcome, WinRate, outcome_of_orders, win_rate

__all__ = [
    "CREDIT",
    "Agreement",
    "Interval",
    "JudgeAccuracy",
    "Match",
    "NotMeasured",
    "Outcome",
    "PairedChange",
    "Rate",
    "Strength",
    "WinRate",
    "alpha_among",
    "bounds",
    "bradley_terry",
    "cluster_bootstrap_rate",
    "cohen_kappa",
    "holm",
    "kappa_between",
    "krippendorff_alpha",
    "mcnemar_exact",
    "outcome_of_orders",
    "paired_change",
    "sensitivity_specificity",
    "wilson",
    "win_rate",
]
