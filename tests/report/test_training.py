"""What the training log adds up to."""

import pytest

from spavl.report.gather import TrainingStep
from spavl.report.training import Margin, tally_training
from spavl.report.wording import alarm_line, margin_text


def step(number: int, margins: dict[str, float | None], pairs: dict[str, int], falling: bool = False) -> TrainingStep:
    return TrainingStep(
        step=number,
        loss=0.6,
        reward_margin=0.0,
        accuracy=0.5,
        chosen_logprob=-20,
        rejected_logprob=-30,
        chosen_shift=-0.5 * number,
        chosen_falling=falling,
        tokens=10,
        seconds=2,
        margins_by_length=margins,
        pairs_by_length=pairs,
    )


def nothing(number: int, falling: bool = False) -> TrainingStep:
    return step(number, {"shorter": 9.0, "alike": 9.0, "longer": 9.0}, {"shorter": 1, "alike": 1, "longer": 1}, falling)


def test_final_margins_are_means_over_the_pairs_of_the_last_quarter_of_the_steps() -> None:
    """Steps 7 and 8 of 8; alike (1 * 2 + 3 * 4) / 4 = 3.5, longer 8 on one pair, all (14 + 8) / 5 = 4.4."""
    last = [
        step(7, {"shorter": None, "alike": 2.0, "longer": None}, {"shorter": 0, "alike": 1, "longer": 0}),
        step(8, {"shorter": None, "alike": 4.0, "longer": 8.0}, {"shorter": 0, "alike": 3, "longer": 1}),
    ]
    training = tally_training([*(nothing(number) for number in range(1, 7)), *last])
    assert training is not None and training.last_steps == 2
    assert training.margins["shorter"] == Margin(0, None)
    assert training.margins["alike"] == Margin(4, pytest.approx(3.5))
    assert training.margins["longer"] == Margin(1, 8.0)
    assert training.margins["all"] == Margin(5, pytest.approx(4.4))


def test_a_last_step_without_pairs_leaves_the_shift_of_the_one_before_it() -> None:
    none = nothing(2).model_copy(update={"chosen_shift": None})
    training = tally_training([nothing(1), none])
    assert training is not None and training.last_shift == -0.5


def test_alarms_are_counted_from_their_first_step() -> None:
    training = tally_training([nothing(number, falling=number in (3, 4)) for number in range(1, 6)])
    assert training is not None
    assert (training.steps, training.alarms, training.first_alarm, training.last_shift) == (5, 2, 3, -2.5)
    assert (training.tokens, training.seconds) == (50, 10)
    assert alarm_line(training).startswith("Alarm in training: from step 3 on, at 2 of 5 steps, the preferred answers")


def test_without_an_alarm_or_a_log_nothing_is_said() -> None:
    assert alarm_line(tally_training([nothing(1)])) == "" == alarm_line(tally_training([]))


def test_a_margin_without_pairs_is_said_and_not_zero() -> None:
    assert [margin_text(Margin(n, value)) for n, value in ((0, None), (2, -0.25), (2, 1.0))] == [
        "no pairs",
        "−0.25",
        "+1.00",
    ]
