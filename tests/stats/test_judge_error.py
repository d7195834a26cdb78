"""Rates and changes a judge with errors in a stated box allows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spavl.stats import ErrorBox, Interval, change_band, corrected_rate, rate_band


def test_a_judged_rate_is_turned_back() -> None:
    """Of 40 % true events Se .9 finds .36, of 60 % others Sp .8 calls .12: judged .48; (.48 - .2) / .7 = .4."""
    assert corrected_rate(0.48, 0.9, 0.8) == pytest.approx(0.4)


def test_fewer_events_than_false_alarms_is_a_rate_of_zero() -> None:
    assert corrected_rate(0.05, 0.9, 0.8) == 0


def test_the_band_of_a_rate_spans_the_corners() -> None:
    """Judged .5: Se 1, Sp .8 gives (.5 - .2) / .8 = .375; Se .8, Sp 1 gives .5 / .8 = .625."""
    box = ErrorBox(Interval(0.8, 1.0), Interval(0.8, 1.0))
    assert rate_band(0.5, box) == pytest.approx((0.375, 0.625))


def test_the_band_of_a_change_lets_errors_differ_before_and_after() -> None:
    """A judged .5 both times may be .375 to .625 either time, so the change is between -.25 and .25."""
    box = ErrorBox(Interval(0.8, 1.0), Interval(0.8, 1.0))
    assert change_band(0.5, 0.5, box) == pytest.approx((-0.25, 0.25))


@given(
    st.floats(0, 1),
    st.floats(0.6, 1),
    st.floats(0.6, 1),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_no_point_of_the_box_leaves_the_band(
    judged: float, sensitivity: float, specificity: float, at: float, other: float
) -> None:
    box = ErrorBox(Interval(0.6, sensitivity), Interval(0.6, specificity))
    band = rate_band(judged, box)
    inside = corrected_rate(judged, 0.6 + at * (sensitivity - 0.6), 0.6 + other * (specificity - 0.6))
    assert band.low - 1e-9 <= inside <= band.high + 1e-9


def test_a_judge_no_better_than_chance_is_refused() -> None:
    with pytest.raises(ValueError, match="tells nothing"):
        rate_band(0.3, ErrorBox(Interval(0.5, 0.9), Interval(0.5, 0.9)))
    with pytest.raises(ValueError, match="from 0 to 1"):
        corrected_rate(1.2, 0.9, 0.9)
