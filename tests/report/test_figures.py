"""The figures."""

import re
from xml.etree import ElementTree

import pytest
from markupsafe import Markup

from spavl.evaluate.results import BeforeAfter, MeasuredRate
from spavl.report.figures import (
    draw_figures,
    rates_figure,
    responders_figure,
    tradeoff_figure,
    training_figures,
)
from spavl.report.gather import ReportData, TrainingStep
from spavl.report.tallies import Responder
from spavl.stats import Rate

NOTHING = MeasuredRate(value=None, n=0, low=None, high=None, unscored=3, lowest=None, highest=None)


def steps(count: int) -> list[TrainingStep]:
    return [
        TrainingStep(
            step=step,
            loss=1.0,
            reward_margin=0.0,
            accuracy=0.5,
            chosen_logprob=-20,
            rejected_logprob=-30,
            chosen_shift=0,
            chosen_falling=step == 700,
            tokens=10,
            seconds=1,
        )
        for step in range(1, count + 1)
    ]


def drawn_figures(data: ReportData) -> list[Markup]:
    figures = draw_figures(data)
    drawn = [figures.rates, figures.tradeoff, *figures.training, figures.domains, figures.responders]
    return [one for one in drawn if one is not None]


@pytest.fixture(scope="module")
def figures(data: ReportData) -> list[Markup]:
    return drawn_figures(data)


def test_the_same_run_gives_the_same_bytes(data: ReportData, figures: list[Markup]) -> None:
    assert drawn_figures(data) == figures


def test_every_figure_is_well_formed_with_title_description_and_real_text(figures: list[Markup]) -> None:
    assert len(figures) == 9
    for figure in figures:
        tree = ElementTree.fromstring(figure)
        children = [child.tag for child in tree]
        assert children[:2] == ["title", "desc"]
        assert all(tree[place].text for place in (0, 1))
        assert list(tree.iter("text"))


def test_no_two_elements_share_an_id_and_every_reference_is_met(figures: list[Markup]) -> None:
    everything = "".join(figures)
    found = re.findall(r'\bid="([^"]+)"', everything)
    assert len(found) == len(set(found))
    assert set(re.findall(r'href="#([^"]+)"|url\(#', everything)) - {""} <= set(found)


def test_colours_follow_the_page_and_nothing_points_outside(figures: list[Markup]) -> None:
    everything = "".join(figures)
    assert "var(--before)" in everything
    assert not re.findall(r"#[0-9a-f]{6}\b", everything)
    assert "http" not in everything


def test_a_rate_that_was_not_measured_is_written_so(data: ReportData) -> None:
    results = data.evaluation.results
    unmeasured = {name: BeforeAfter(before=NOTHING, after=NOTHING, change=None) for name in results.metrics}
    empty = results.model_copy(update={"metrics": unmeasured})
    assert rates_figure(empty).count("before not measured") == len(unmeasured)
    assert tradeoff_figure(empty) is None


def test_a_long_training_is_thinned_to_means_and_keeps_its_alarm() -> None:
    short, long = training_figures(steps(300)), training_figures(steps(3000))
    assert all(len(one) < 1.3 * len(other) for one, other in zip(long, short, strict=True))
    assert "var(--alarm)" in long[-1]
    assert "var(--alarm)" not in short[-1]


def test_without_a_reference_there_is_no_curve_of_the_chosen_shift() -> None:
    without = [step.model_copy(update={"chosen_shift": None}) for step in steps(700)]
    assert (len(training_figures(steps(3))), len(training_figures(without))) == (5, 4)


def test_the_chosen_shift_is_drawn_with_its_values_and_alarm() -> None:
    """It falls by 0.01 nats a step, and the alarm is at step 700: means of three steps, the first over steps 1 to 3."""
    falling = [step.model_copy(update={"chosen_shift": -0.01 * step.step}) for step in steps(900)]
    shift = training_figures(falling)[-2]
    assert "chosen shift: -0.02 at step 3, -8.99 at step 900" in shift
    assert "var(--alarm)" in shift


def test_a_step_without_means_has_no_point() -> None:
    first, second, third = steps(3)
    none = dict.fromkeys(("reward_margin", "accuracy", "chosen_logprob", "rejected_logprob", "chosen_shift"))
    assert training_figures([first, second.model_copy(update=none), third]) == training_figures([first, third])
    assert training_figures([second.model_copy(update=none)]) == ()


def test_no_steps_give_no_curves() -> None:
    assert training_figures([]) == ()


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "$x^2$ & more", "名前"])
def test_a_responders_name_is_only_text(name: str) -> None:
    responder = Responder(name, 10, Rate(0.5, 10, 0.2, 0.8), 0, 1, 1)
    figure = responders_figure([responder])
    assert "<script" not in figure
    written = "".join("".join(text.itertext()) for text in ElementTree.fromstring(figure).iter("text"))
    assert name in written
