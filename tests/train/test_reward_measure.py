"""The figures of a reward model, worked by hand."""

import math

import pytest

from spavl.train.reward_measure import PairScores, reward_figures


def scored(number: int, chosen: float, rejected: float, **changes: object) -> PairScores:
    """Returns a pair of which the preferred answer has 10 tokens and the other 20."""
    values = {
        "pair_id": f"pair-{number}",
        "image_id": f"img-{number // 2}",
        "question_type": "easy_question",
        "chosen": chosen,
        "rejected": rejected,
        "chosen_tokens": 10,
        "rejected_tokens": 20,
        "chosen_verdict": "safe",
        "rejected_verdict": "unsafe",
    }
    return PairScores.model_validate(values | changes)


def test_nothing_is_measured_of_nothing() -> None:
    assert reward_figures([]) is None


def test_accuracy_counts_pairs_whose_preferred_answer_scores_more_and_no_ties() -> None:
    """Right, wrong, tie, right: 2 of 4, about 2 pictures; Wilson's 95 % interval of 2 of 4 is .150 to .850."""
    figures = reward_figures([scored(0, 1, 0), scored(1, 0, 1), scored(2, 1, 1), scored(3, 3, 0)])
    assert figures is not None
    assert (figures.pairs, figures.pictures) == (4, 2)
    assert (figures.accuracy.value, figures.accuracy.n) == (0.5, 4)
    assert (figures.accuracy.low, figures.accuracy.high) == pytest.approx((0.150, 0.850), abs=1e-3)
    assert figures.mean_margin == pytest.approx(0.75)


def test_a_model_that_only_likes_short_answers_is_seen_through() -> None:
    """Score = -tokens: right where the preferred answer is shorter, wrong where it is longer, and correlated by -1."""
    shorter = [scored(number, -10, -20) for number in range(3)]
    longer = [scored(9, -30, -20, chosen_tokens=30)]
    figures = reward_figures([*shorter, *longer])
    assert figures is not None
    by_length = figures.accuracy_by_length
    assert by_length["shorter"] is not None and by_length["shorter"].value == 1
    assert by_length["longer"] is not None and by_length["longer"].value == 0
    assert by_length["alike"] is None
    assert figures.length_correlation == pytest.approx(-1)
    assert figures.shorter_is_better is not None
    assert figures.shorter_is_better.value == figures.accuracy.value == 0.75


def test_confidence_is_the_sigmoid_of_the_difference() -> None:
    """Four pairs apart by log 3: confidence .75; three of them right: no error. Two right: .25 off."""
    apart = math.log(3)
    right, wrong = scored(0, apart, 0), scored(1, 0, apart)
    exact, off = reward_figures([right] * 3 + [wrong]), reward_figures([right] * 2 + [wrong] * 2)
    assert exact is not None and exact.calibration_error == pytest.approx(0)
    assert off is not None and off.calibration_error == pytest.approx(0.25)


def test_types_are_told_apart_and_a_cost_has_a_sign() -> None:
    """Safe at -1 and unsafe at 2 are right, unsafe at -1 is not; an answer without a label is not asked."""
    pairs = [
        scored(0, 1, 0, chosen_cost=-1.0, rejected_cost=2.0),
        scored(1, 0, 1, question_type=None, chosen_verdict=None, chosen_cost=5.0, rejected_cost=-1.0),
    ]
    figures = reward_figures(pairs)
    assert figures is not None
    assert {name: share and share.value for name, share in figures.accuracy_by_type.items()} == {
        "easy_question": 1,
        "unknown": 0,
    }
    assert figures.cost_sign is not None and (figures.cost_sign.n, figures.cost_sign.value) == (3, pytest.approx(2 / 3))


def test_scores_so_far_apart_that_a_sigmoid_is_1_are_measured() -> None:
    figures = reward_figures([scored(0, 5000.0, -5000.0)])
    assert figures is not None and figures.calibration_error == 0
