"""Paired changes of samples that rise and fall by clusters, by hand."""

import pytest

from spavl.evaluate.rates import measured_change, measured_rate


def test_a_cluster_of_samples_is_one_item_to_interval_and_p_value() -> None:
    """3 clusters of 4 that all fell: p = 2 / 2^3, and Wilson's limit for 0 of 3 is z² / (3 + z²) = .5615.

    The interval goes up to -1 + 2 * .5615 = .123; of 12 single samples it would end at -.515, with p = 2 / 2^12.
    """
    change = measured_change([1] * 12, [0] * 12, [f"picture {number // 4}" for number in range(12)], 0.95)
    assert change is not None
    assert (change.value, change.n, change.before_only, change.p_value) == (-1, 12, 12, 1 / 4)
    assert (change.low, change.high) == (-1, pytest.approx(0.123, abs=1e-3))


def test_fewer_than_15_drawn_clusters_are_marked_and_wilsons_interval_is_not() -> None:
    for pictures, few in ((14, True), (15, False)):
        clusters = [f"picture {number // 2}" for number in range(2 * pictures)]
        events = [number % 2 for number in range(2 * pictures)]
        change = measured_change(events, events, clusters, 0.95)
        assert change is not None and change.few_units == few
        assert measured_rate(events, clusters, 0, 0.95).few_units == few
    assert not measured_rate([1, 0], ["one", "other"], 0, 0.95).few_units
