"""How sure a number is: intervals, paired changes, win rates and agreement, as pure functions of values.

Every estimate comes with its number of items and its interval. What there is no item for raises `NotMeasured`, and
whoever asked prints "not measured", never 0; sequences of unequal length and other slips raise a plain `ValueError`.
It plots nothing.
"""

from spavl.stats.agreement import (
    Agreement,
    JudgeAccuracy,
    alpha_among,
    cohen_kappa,
    gwet_ac1,
    kappa_between,
    krippendorff_alpha,
    sensitivity_specificity,
)
from spavl.stats.bootstrap import cluster_bootstrap_rate
from spavl.stats.calibration import Bin, Calibration, calibration
from spavl.stats.judge_error import ErrorBox, change_band, corrected_rate, rate_band
from spavl.stats.length_control import length_controlled_win_rate
from spavl.stats.paired import (
    NonInferiority,
    PairedChange,
    benjamini_hochberg,
    holm,
    mcnemar_exact,
    non_inferiority,
    paired_change,
    sign_flip_exact,
)
from spavl.stats.prediction_powered import PoweredMean, powered_change, powered_mean
from spavl.stats.rates import Interval, NotMeasured, Rate, bounds, wilson
from spavl.stats.ratios import RatioChange, cluster_bootstrap_ratio, ratio_change
from spavl.stats.strengths import Match, Strength, bradley_terry
from spavl.stats.wins import CREDIT, Outcome, WinRate, outcome_of_orders, win_rate

__all__ = [
    "CREDIT",
    "Agreement",
    "Bin",
    "Calibration",
    "ErrorBox",
    "Interval",
    "JudgeAccuracy",
    "Match",
    "NonInferiority",
    "NotMeasured",
    "Outcome",
    "PairedChange",
    "PoweredMean",
    "Rate",
    "RatioChange",
    "Strength",
    "WinRate",
    "alpha_among",
    "benjamini_hochberg",
    "bounds",
    "bradley_terry",
    "calibration",
    "change_band",
    "cluster_bootstrap_rate",
    "cluster_bootstrap_ratio",
    "cohen_kappa",
    "corrected_rate",
    "gwet_ac1",
    "holm",
    "kappa_between",
    "krippendorff_alpha",
    "length_controlled_win_rate",
    "mcnemar_exact",
    "non_inferiority",
    "outcome_of_orders",
    "paired_change",
    "powered_change",
    "powered_mean",
    "rate_band",
    "ratio_change",
    "sensitivity_specificity",
    "sign_flip_exact",
    "wilson",
    "win_rate",
]
