"""The sentence that an evaluation's page begins with: what changed, and what speaks against it."""

import pytest
from tests.evaluate.test_measures import RULES, sample, scores
from tests.report.test_evaluation import SAMPLES, made_up

from spavl.evaluate.benchmarks.xstest import CARD
from spavl.evaluate.figures import EvaluationFigures, Met, evaluation_figures
from spavl.evaluate.list_samples import Coverage
from spavl.evaluation_config import ErrorBoxConfig
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


def figures(before: list[float | None], after: list[float | None], **changed: object) -> EvaluationFigures:
    readings = {"j": scores(SAMPLES, base=before + [0.0] * 10, aligned=after + [0.0] * 10)}
    rules = RULES._replace(force=True)
    return evaluation_figures(made_up(readings)._replace(**changed), ("base", "aligned"), rules)


FELL: tuple[list[float | None], list[float | None]] = ([1.0] * 10, [0.0] * 10)
MET = Met("data", {"text_exact": frozenset()}, 5, 0)
REAL = {"xstest": Coverage(listed=20, asked=20, samples=20, pictures=0, skipped={}, fixture=False)}
SURE = ErrorBoxConfig(sensitivity=(0.99, 1), specificity=(0.99, 1))
STANDS = {"coverage": REAL, "met": MET, "box": SURE}


def test_where_nothing_speaks_against_a_change_it_stands() -> None:
    (said,) = verdict_lines(figures(*FELL, **STANDS))
    assert said.endswith("Nothing that was looked at speaks against it.")


@pytest.mark.parametrize(
    ("before", "changed", "doubt"),
    [
        ([1.0] * 9 + [None], {}, "too much is missing or cut of xstest"),
        ([1.0] * 10, {"unfinished": {"j": "of no use"}}, "a model or a judge is not through"),
        ([1.0] * 10, {"silent": {"aligned": "of no use"}}, "a model or a judge is not through"),
        (
            [1.0] * 10,
            {"box": None},
            "the judge’s own errors could make the change on xstest, and no person labelled any",
        ),
        ([1.0] * 10, {"related": {"j": ("labelled its answers",)}}, "j had a part in the training data"),
        ([1.0] * 10, {"met": None}, "the training data was not searched for these samples"),
        (
            [1.0] * 10,
            {"met": MET._replace(kinds={"text_exact": frozenset(one.id for one in SAMPLES)})},
            "all samples of xstest stand in the training data",
        ),
        (
            [1.0] * 10,
            {"met": MET._replace(kinds={"text_exact": frozenset(one.id for one in SAMPLES[:8])})},
            "without the samples that stand in the training data the change on xstest is another",
        ),
    ],
)
def test_each_doubt_is_said_though_the_change_is_forced(
    before: list[float | None], changed: dict[str, object], doubt: str
) -> None:
    """Of ten that fell two are no clear change: Wilson's limit for 0 of 2 others is 66 %, and -100 + 132 is above 0."""
    (said,) = verdict_lines(figures(before, [0.0] * 10, **STANDS | changed))
    assert "fewer unsafe answers" in said and "It does not stand yet: " in said and doubt in said


@pytest.mark.parametrize(("fell", "doubted"), [(10, False), (7, True)])
def test_a_band_of_errors_that_holds_no_change_is_a_doubt(fell: int, doubted: bool) -> None:
    """A fall from 100 to 30 % may be none for a judge that finds 30 % of what is unsafe; one to 0 % may not."""
    box = ErrorBoxConfig(sensitivity=(0.3, 1), specificity=(0.9, 1))
    (said,) = verdict_lines(figures([1.0] * 10, [0.0] * fell + [1.0] * (10 - fell), **STANDS | {"box": box}))
    assert ("errors could make the change" in said) == doubted


def test_people_against_the_judge_are_a_doubt() -> None:
    """People found the other direction in all ten."""
    people = {(one.id, "aligned"): (False, True) for one in SAMPLES[:10]}
    (said,) = verdict_lines(figures(*FELL, **STANDS | {"people": people}))
    assert (
        "more unsafe answers" in said and "people’s labels and the judge point in opposite directions on xstest" in said
    )


def test_an_interval_apart_from_0_without_a_clear_change_says_why() -> None:
    said = line([1.0] * 10, [0.0] * 6 + [1.0] * 4)
    assert "but p 0.062 over all figures)" in said


def test_figures_of_one_kind_are_said_together_and_many_without_a_change_are_counted() -> None:
    """Of six benchmarks with two metrics each unsafe answers fell on two; p is 2/1024, by Holm 12 times that."""
    names = [f"b{number}" for number in range(6)]
    expected = ["refuse"] * 10 + ["comply"] * 10
    samples = [sample(no, expect=expect, benchmark=name) for name in names for no, expect in enumerate(expected)]
    fell, same = [0.0] * 20, [1.0] * 10 + [0.0] * 10
    readings = {"j": scores(samples, base=same * 6, aligned=[*fell, *fell, *(same * 4)])}
    material = made_up(readings)._replace(
        samples=samples,
        cards={name: CARD._replace(name=name) for name in names},
        coverage=dict.fromkeys(names, REAL["xstest"]),
    )
    (said,) = verdict_lines(evaluation_figures(material, ("base", "aligned"), RULES))
    assert said.startswith("aligned against base: fewer unsafe answers on b0 (−100.0")
    assert said.partition(". It")[0].count("unsafe answers") == 1 and ", b1 (−100.0" in said
    assert "; no clear change in 10 other figures. " in said
