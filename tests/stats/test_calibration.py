"""Calibration, worked by hand."""

import pytest

from spavl.stats import NotMeasured, calibration


def test_the_error_is_the_mean_distance_of_confidence_and_being_right() -> None:
    """Bins of .1. Four said .55, half were right: .05 off. One said .95 and was wrong: .95 off. (4·.05 + .95) / 5."""
    found = calibration([0.55] * 4 + [0.95], [True, True, False, False, False])
    assert found.error == pytest.approx((4 * 0.05 + 0.95) / 5)
    assert [(one.confidence, one.right.value, one.right.n) for one in found.bins] == [(0.55, 0.5, 4), (0.95, 0, 1)]


def test_certainty_that_is_right_has_no_error() -> None:
    found = calibration([1.0, 1.0], [True, True])
    assert found.error == 0 and len(found.bins) == 1


def test_nothing_and_what_is_no_confidence_are_refused() -> None:
    with pytest.raises(NotMeasured):
        calibration([], [])
    with pytest.raises(ValueError, match=r"0\.5 to 1"):
        calibration([0.4], [True])
    with pytest.raises(ValueError):
        calibration([0.6], [])
