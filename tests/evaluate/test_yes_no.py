"""POPE's figures by hand: precision, recall, F1, the share of yes; and what is not measured."""

import pytest
from tests.evaluate.test_measures import MODELS, RULES, scores

from spavl.evaluate.benchmarks.pope import CARD
from spavl.evaluate.measures import Part
from spavl.evaluate.yes_no import YesNoMeasure, yes_no_measure
from spavl.records import Sample


def figures(right: str, **answered: list[float | None]) -> YesNoMeasure:
    """Figures of questions whose right answers are `y` or `n` each, by what every model scored on them."""
    samples = [
        Sample(benchmark="pope", image_id="", prompt=f"{place}?", expect="answer", references=(word,))
        for place, word in enumerate("yes" if letter == "y" else "no" for letter in right)
    ]
    return yes_no_measure(Part(CARD, "right", samples), scores(samples, **answered), tuple(answered), RULES)


def test_popes_figures_leave_the_unscored_out_and_count_them() -> None:
    """Of six, one unscored. Right: 2 yes and 1 no of 5; 3 said yes, 2 of them right; 3 are yes, 2 of them said."""
    found = figures("yyynnn", base=[1, 1, 0, 0, 1, None]).models["base"]
    assert (found.scored, found.unscored) == (5, 1)
    values = {name: one.value for name, one in found.figures.items() if one}
    shares = {"accuracy": 3 / 5, "precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "yes_share": 3 / 5}
    assert values == pytest.approx(shares)
    assert all(one is not None and one.low < one.value < one.high for one in found.figures.values())


def test_a_figure_without_anything_below_its_line_is_not_measured_and_not_zero() -> None:
    found = figures("ny", base=[1, None]).models["base"].figures
    assert [None if one is None else one.value for one in found.values()] == [1.0, None, None, None, 0.0]


def test_a_change_is_of_what_both_models_answered_and_is_withheld_with_the_accuracys() -> None:
    """The base says yes to all of 2 yes and 2 no: F1 4/6. The aligned model says no to one no more: 4/5; +2/15.

    With one of four unscored nothing is given.
    """
    changes = figures("yynn", base=[1, 1, 0, 0], aligned=[1, 1, 1, 0]).changes["aligned"]
    f1, recall = changes["f1"], changes["recall"]
    assert f1 is not None and f1.value == pytest.approx(2 / 15) and f1.low <= f1.value <= f1.high
    assert recall is not None and recall.value == 0 and recall.low < 0 < recall.high
    assert MODELS == ("base", "aligned")
    assert figures("yynn", base=[1, 1, 0, 0], aligned=[1, 1, 1, None]).changes == {"aligned": {}}
