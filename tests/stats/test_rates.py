"""Wilson's interval and worst-case bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from spavl.stats import NotMeasured, bounds, wilson


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int]:
    n = draw(st.integers(1, 5000))
    return draw(st.integers(0, n)), n


def test_wilson_of_5_in_10_is_the_value_worked_by_hand() -> None:
    """With z = 1.959964, z^2 = 3.841459 the centre is (.5 + .1920729) / 1.3841459 = .5.

    Half width: 1.959964 / 1.3841459 * sqrt(.025 + .009603647) = 1.416010 * .1860206 = .263407.
    """
    rate = wilson(5, 10)
    assert (rate.value, rate.n) == (0.5, 10)
    assert rate.low == pytest.approx(0.5 - 0.263407, abs=1e-6)
    assert rate.high == pytest.approx(0.5 + 0.263407, abs=1e-6)


def test_no_event_in_265_leaves_up_to_1_43_percent() -> None:
    """With 0 events the upper limit is z^2 / (n + z^2) = 3.841459 / 268.841459 = .014289."""
    rate = wilson(0, 265)
    assert (rate.value, rate.low) == (0, 0)
    assert round(100 * rate.high, 2) == 1.43


def test_3_events_in_265_lie_between_0_39_and_3_27_percent() -> None:
    rate = wilson(3, 265)
    assert (round(100 * rate.low, 2), round(100 * rate.high, 2)) == (0.39, 3.27)


@given(counts(), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_equals_statsmodels(events_and_n: tuple[int, int], confidence: float) -> None:
    events, n = events_and_n
    low, high = proportion_confint(events, n, alpha=1 - confidence, method="wilson")
    rate = wilson(events, n, confidence)
    assert (rate.low, rate.high) == pytest.approx((low, high), abs=1e-12)


@given(counts())
def test_wilson_holds_the_estimate_and_stays_inside_0_and_1(events_and_n: tuple[int, int]) -> None:
    rate = wilson(*events_and_n)
    assert 0 <= rate.low <= rate.value <= rate.high <= 1
    assert rate.low < rate.high


@given(counts())
def test_wilson_of_the_complement_is_the_mirror_image(events_and_n: tuple[int, int]) -> None:
    events, n = events_and_n
    rate, other = wilson(events, n), wilson(n - events, n)
    assert (other.low, other.high) == pytest.approx((1 - rate.high, 1 - rate.low), abs=1e-12)


def test_a_higher_confidence_is_a_wider_interval() -> None:
    assert wilson(3, 20, 0.99).high > wilson(3, 20, 0.9).high


def test_no_items_are_not_measured() -> None:
    with pytest.raises(NotMeasured, match="at least one item"):
        wilson(0, 0)
    with pytest.raises(NotMeasured):
        bounds(0, 0, 0)


@pytest.mark.parametrize("arguments", [(-1, 5), (6, 5), (0, -1), (1, 5, 1.0), (1, 5, 0.0), (1, 5, 95)])
def test_impossible_counts_and_levels_are_refused(arguments: tuple[int, ...]) -> None:
    with pytest.raises(ValueError):
        wilson(*arguments)


def test_bounds_take_the_unscored_for_none_and_for_all_events() -> None:
    """3 events of 90 scored, 10 unscored: 3 / 100 to 13 / 100."""
    assert bounds(3, 90, 10) == (0.03, 0.13)


def test_bounds_without_unscored_items_are_the_rate() -> None:
    assert bounds(3, 12, 0) == (0.25, 0.25)


@pytest.mark.parametrize("arguments", [(2, 1, 0), (-1, 1, 0), (0, 1, -1)])
def test_bounds_refuse_impossible_counts(arguments: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError):
        bounds(*arguments)
