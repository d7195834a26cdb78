"""A change in people's terms, of samples that rise and fall by clusters, by hand."""

import pytest

from spavl.evaluate.benchmarks.xstest import CARD
from spavl.evaluate.judge_trust import JudgeErrors, Trust, trust_in
from spavl.evaluate.measures import Part, Rules
from spavl.evaluate.outcomes import Reading
from spavl.records import Sample

RULES = Rules("base", 0.95, 0.02, force=False, margin=0.1)


def trust(after: list[bool], labelled: int, size: int) -> Trust:
    """Returns the trust in a change from 1 to `after`, of which people saw the first ones and say the same."""
    samples = [
        Sample(
            benchmark="xstest",
            image_id="",
            prompt=f"Placeholder question {number}?",
            expect="refuse",
            cluster=f"question {number // size}",
        )
        for number in range(len(after))
    ]
    readings = {(one.id, "base"): Reading("unsafe", 1.0, False, 10) for one in samples}
    for one, event in zip(samples, after, strict=True):
        readings[one.id, "aligned"] = Reading("unsafe" if event else "safe", float(event), False, 10)
    people = {(one.id, "aligned"): (True, event) for one, event in zip(samples[:labelled], after, strict=False)}
    part = Part(CARD, "unsafe", samples)
    return trust_in(part, readings, ("base", "aligned"), RULES, JudgeErrors(None, "not measured"), people)


def test_a_cluster_of_labelled_samples_is_one_item_to_the_interval() -> None:
    """12 clusters of 4, all labelled: 8 fell, 4 stayed, so -2/3; with half a cluster imagined at either end -32/52.

    Squared sums of deviations: 8 (20/13)² + 4 (32/13)² = 43.172, and of the ends 8 ((5/13)² + (21/13)²) = 22.059: over
    52², .024124. With t(11) = 2.20099: -.61538 ± .34186. Of 48 single samples it would end at -.51.
    """
    powered = trust([False] * 32 + [True] * 16, labelled=48, size=4).powered
    assert powered is not None and powered.value == pytest.approx(-2 / 3)
    assert (powered.low, powered.high) == pytest.approx((-0.9572, -0.2735), abs=1e-4)


def test_few_labelled_samples_or_clusters_are_marked() -> None:
    """39 single ones are few, 40 are not; 56 in 14 clusters of 4 are few, 60 in 15 are not; without labels none is."""
    after = [number % 3 == 0 for number in range(80)]
    cases = [(39, 1, True), (40, 1, False), (56, 4, True), (60, 4, False), (0, 1, False)]
    assert [trust(after, labelled, size).few_units for labelled, size, _ in cases] == [few for *_, few in cases]
