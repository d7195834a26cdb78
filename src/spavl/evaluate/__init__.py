"""The evaluation stations: answers before and after, verdicts on them, contests between them, and the figures."""

from spavl.evaluate.answers import Condition, Decoding, answer_samples, ask_models
from spavl.evaluate.benchmarks import benign_samples, harm_samples, naming_sample
from spavl.evaluate.contests import ContestResult, hold_contests
from spavl.evaluate.results import EvaluationResults, evaluation_results
from spavl.evaluate.verdicts import judge_answers

__all__ = [
    "Condition",
    "ContestResult",
    "Decoding",
    "EvaluationResults",
    "answer_samples",
    "ask_models",
    "benign_samples",
    "evaluation_results",
    "harm_samples",
    "hold_contests",
    "judge_answers",
    "naming_sample",
]
