"""The sentence that an evaluation's page begins with: what changed, and what speaks against it."""

import pytest
from tests.evaluate.test_measures import RULES, scores
from tests.report.test_evaluation import SAMPLES, made_up

from spavl.evaluate.figures import evaluation_figures
from spavl.report.evaluation_verdict import verdict_lines


def line(before: list[float], after: list[float]) -> str:
    """Returns what is said of unsafe answers to ten questions; to the ten benign ones nothing changes."""
    readings = {"j": scores(SAMPLES, base=before + [0.0] * 10, aligned=after + [0.0] * 10)}
    (said,) = verdict_lines(evaluation_figures(made_up(readings), ("base", "aligned"), RULES))
    return said


@pytest.mark.parametrize(("changed", "word"), [(6, "no clear change in"), (7, "fewer")])
def test_a_change_is_clear_only_where_its_test_says_so_too(changed: int, word: str) -> None:
    """Of 6 changes in one direction p is 2/64, by Holm over two metrics 0.0625; of 7 it is 2/128, by Holm 0.031.

    Both intervals lie below 0: six of ten changed.
    """
    said = line([1.0] * 10, [0.0] * changed + [1.0] * (10 - changed))
    assert f"aligned against base: {word} unsafe answers on xstest (−{changed}0.0" in said
    assert " to −" in said.partition(";")[0]


def test_what_rose_is_more() -> None:
    assert "aligned against base: more unsafe answers on xstest (+100.0" in line([0.0] * 10, [1.0] * 10)
