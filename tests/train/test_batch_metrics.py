"""What is logged of a step is about the pairs as the losses read them, and only those that were not left out."""

from typing import Any

import pytest
import torch
from tests.train.worked_pair import LENGTHS, POLICY, REFERENCE, flags

from spavl.config import TrainConfig
from spavl.train.batch_metrics import BatchMetrics, StepFigures, batch_metrics
from spavl.train.loss_formulas import SAFE, UNSAFE
from spavl.train.losses import LossInputs, preference_losses


def logged(*safety: tuple[int, int], **loss: Any) -> BatchMetrics:
    """Returns what is logged of the pair of `worked_pair`, once for each of these, each by a process of its own."""
    config = TrainConfig.model_validate(
        {"model": "tiny", "beta": 0.5, "loss": [{"kind": "safe_dpo", "margin": 0.0, **loss}]}
    )
    parts = [
        StepFigures.nothing(config, None).plus(
            preference_losses(LossInputs(POLICY, LENGTHS, REFERENCE, flags(*both)), config), tokens=7
        )
        for both in safety
    ]
    return batch_metrics(parts, row_tokens=20)


def test_the_log_is_about_the_safe_answer_and_not_about_pairs_that_are_left_out() -> None:
    """The first pair changes places: chosen -9 of 2 tokens against the reference's -5, rejected -10 of 4.

    Rewards -2 and 1, margin -3, loss log(1 + e^3) = 3.048587; the second is two unsafe answers, its loss 0.
    """
    found = logged((UNSAFE, SAFE), (UNSAFE, UNSAFE))
    assert found.loss == pytest.approx(3.048587 / 2) and found.terms == {"safe_dpo": found.loss}
    assert (found.chosen_logprob, found.rejected_logprob, found.chosen_shift) == (-9, -10, -4)
    assert (found.reward_margin, found.accuracy) == (-3, 0)
    assert found.margins_by_length == {"shorter": -3, "alike": None, "longer": None}
    assert found.pairs_by_length == {"shorter": 1, "alike": 0, "longer": 0}
    assert (found.tokens, found.row_tokens) == (14, 20)


def test_pairs_that_are_not_left_out_count_once_each() -> None:
    """One as it stands, margin 3 at a shift of 2, one that changes places, -3 at -4, and two unsafe answers kept."""
    found = logged((SAFE, UNSAFE), (UNSAFE, SAFE), (UNSAFE, UNSAFE), both_unsafe="keep")
    assert found.reward_margin == 1 and found.chosen_shift == 0
    assert found.accuracy == pytest.approx(2 / 3)
    assert found.pairs_by_length == {"shorter": 1, "alike": 0, "longer": 2}


def test_a_batch_that_is_left_out_as_a_whole_has_no_means() -> None:
    found = logged((UNSAFE, UNSAFE))
    assert found.loss == 0
    assert found.reward_margin is found.accuracy is found.chosen_logprob is found.rejected_logprob is None
    assert found.chosen_shift is None and set(found.pairs_by_length.values()) == {0}


def test_processes_weigh_as_much_as_the_pairs_they_have() -> None:
    """Two pairs at margin 3 on one process and one at -3 on another: 1, and not the mean of two means, 0."""
    config = TrainConfig.model_validate({"model": "tiny", "beta": 0.5, "loss": [{"kind": "safe_dpo", "margin": 0.0}]})
    right, wrong = (
        preference_losses(LossInputs(POLICY, LENGTHS, REFERENCE, flags(*both)), config)
        for both in ((SAFE, UNSAFE), (UNSAFE, SAFE))
    )
    none = StepFigures.nothing(config, None)
    found = batch_metrics([none.plus(right, 1).plus(right, 1), none.plus(wrong, 1), none], row_tokens=1)
    assert found.reward_margin == 1
    assert torch.isclose(torch.tensor(found.loss), torch.tensor((2 * 0.048587 + 3.048587) / 3))
