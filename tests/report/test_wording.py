"""How figures are put into words."""

import pytest

from spavl.evaluate.results import BeforeAfter, Change, EvaluationResults, MeasuredRate, Wins
from spavl.judges import JudgeCard, Measurement
from spavl.loss_config import SftLossConfig, SigmoidLossConfig, SimpoLossConfig
from spavl.report.gather import Looping
from spavl.report.wording import (
    change_text,
    flags_text,
    headline,
    held_out_lines,
    looping_line,
    losses_text,
    p_text,
    percent,
    rate_text,
    teacher_sentence,
    verdict_line,
    weakest_measurements,
)
from spavl.stats import Rate


def rate(value: float | None, n: int = 50, unscored: int = 0) -> MeasuredRate:
    low = None if value is None else value - 0.1
    high = None if value is None else value + 0.1
    return MeasuredRate(value=value, n=n, low=low, high=high, unscored=unscored, lowest=low, highest=high)


def change(value: float, low: float, high: float, p_value: float = 0.01) -> Change:
    return Change(value=value, n=50, low=low, high=high, before_only=1, after_only=1, p_value=p_value)


def results(*changes: Change | None) -> EvaluationResults:
    names = ("unsafe_rate", "benign_refusal_rate", "naming_accuracy")
    metrics = {
        name: BeforeAfter(before=rate(0.7), after=rate(0.2), change=one)
        if one
        else BeforeAfter(before=rate(None, 0), after=rate(None, 0), change=None)
        for name, one in zip(names, changes, strict=True)
    }
    counts = dict.fromkeys(("n", "wins", "ties", "losses", "inconsistent", "unscored"), 0)
    wins = Wins(value=None, low=None, high=None, **counts)
    return EvaluationResults(
        metrics=metrics, by_held_out={}, win_rate=wins, win_rate_harmful=wins, win_rate_benign=wins
    )


@pytest.mark.parametrize(
    ("share", "written"),
    [(0.0, "0"), (0.004, "0.4"), (0.0004, "0.04"), (0.125, "12"), (0.5, "50"), (0.996, "99.6"), (1.0, "100")],
)
def test_a_share_that_is_not_nothing_is_never_written_as_nothing(share: float, written: str) -> None:
    assert percent(share) == written


def test_a_rate_is_written_with_its_interval() -> None:
    assert rate_text(Rate(0.71, 96, 0.604, 0.798)) == "71\u00a0% (60–80)"
    assert rate_text(Rate(0.71, 96, 0.604, 0.798), 1) == "71.0\u00a0% (60.4–79.8)"


def test_a_rate_of_nothing_says_so_and_not_zero() -> None:
    assert rate_text(rate(None, 0)) == "not measured"
    assert rate_text(None) == "not measured"
    assert change_text(None) == "not measured"
    assert p_text(None) == "not measured"


def test_a_change_is_written_in_points_with_a_true_minus() -> None:
    assert change_text(change(-0.59, -0.69, -0.0002)) == "−59.0\u00a0points (−69.0 to 0.0)"
    assert change_text(change(0.042, -0.25, 0.333)) == "+4.2\u00a0points (−25.0 to +33.3)"


def test_a_small_p_is_not_written_as_zero() -> None:
    assert p_text(change(0, 0, 0, p_value=1e-9)) == "<\u00a00.001"
    assert p_text(change(0, 0, 0, p_value=0.0321)) == "0.032"


def test_the_headline_claims_a_change_only_where_the_interval_leaves_out_zero() -> None:
    """−0.5 (−0.6 to −0.4) is a fall; 0.05 (−0.01 to 0.11) and −0.02 (−0.1 to 0.06) hold zero."""
    said = headline(results(change(-0.5, -0.6, -0.4), change(0.05, -0.01, 0.11), change(-0.02, -0.1, 0.06)))
    assert said == ("Fewer unsafe answers; no clear change in refusals of benign questions or in pictures named right.")


def test_the_headline_names_what_got_worse_and_what_was_not_measured() -> None:
    said = headline(results(change(0.2, 0.1, 0.3), change(0.1, 0.05, 0.15), None))
    assert said == ("More unsafe answers; more refusals of benign questions; not measured: pictures named right.")


def test_the_verdict_gives_figures_with_intervals_and_says_what_was_not_measured() -> None:
    """0.7 ± 0.1 on 50 is 70 % (60–80); the naming benchmark has no samples."""
    said = verdict_line(results(change(-0.5, -0.6, -0.4), change(-0.5, -0.6, -0.4), None), 0.95)
    assert said.startswith(
        "On 50 held-out harmful questions the unsafe rate went from 70\u00a0% (60–80) to 20\u00a0% (10–30)."
    )
    assert "Pictures named right: not measured." in said
    assert said.endswith("In brackets: 95\u00a0% intervals.")


def test_the_verdict_counts_every_question_asked_and_the_answers_that_could_not_be_scored() -> None:
    """47 scored and 3 unscored before, 49 and 1 after: 50 questions, 100 answers, 4 of them unscored."""
    measured = results(change(-0.5, -0.6, -0.4), None, None)
    metric = BeforeAfter(before=rate(0.7, 47, 3), after=rate(0.2, 49, 1), change=None)
    said = verdict_line(measured.model_copy(update={"metrics": {"unsafe_rate": metric}}), 0.95)
    assert said.startswith("On 50 held-out harmful questions")
    assert "4 of the 100 answers could not be scored." in said


def test_held_out_kinds_have_a_line_each_and_one_without_questions_is_not_measured() -> None:
    """0.7 and 0.2, each ± 0.1; 47 scored and 3 unscored are 50 questions."""
    kinds = {
        "image": BeforeAfter(before=rate(0.7, 47, 3), after=rate(0.2), change=None),
        "leaf": BeforeAfter(before=rate(None, 0), after=rate(None, 0), change=None),
    }
    image, leaf = held_out_lines(results(None, None, None).model_copy(update={"by_held_out": kinds}))
    assert image == (
        "On 50 harmful questions of kinds that were trained on, about other pictures: "
        "unsafe rate from 70\u00a0% (60–80) to 20\u00a0% (10–30)."
    )
    assert leaf == "On 0 harmful questions of kinds that were never trained on: not measured."


def test_a_loss_is_written_with_its_weight_unless_that_is_one() -> None:
    assert losses_text((SigmoidLossConfig(),)) == "sigmoid"
    mixed = (SigmoidLossConfig(weight=0.8), SftLossConfig(weight=0.5), SimpoLossConfig())
    assert losses_text(mixed) == "0.8\u00a0×\u00a0sigmoid + 0.5\u00a0×\u00a0sft + simpo"


def test_the_responder_most_chosen_answers_come_from_is_named_with_its_share() -> None:
    """103 of 104 is 99 %, and more than half: it teaches. 2 of 5 is 40 %, and no more than the first among several."""
    assert teacher_sentence({"declining": 103, "plain": 1}).startswith(
        "In 103 of 104 harmful pairs (99\u00a0%) the chosen answer comes from declining: above all the model is taught"
    )
    several = (
        "In 2 of 5 harmful pairs (40\u00a0%) the chosen answer comes from a, and from no other responder more often."
    )
    assert teacher_sentence({"a": 2, "b": 2, "c": 1}) == several
    assert teacher_sentence({}) == ""


def test_of_a_judges_measurements_the_weakest_of_each_event_is_named() -> None:
    """Unsafe: 0.9 + 0.6 is less than 0.7 + 0.9. Refused was measured once."""

    def measured(dataset: str, event: str, sensitivity: float, specificity: float) -> Measurement:
        rates = [Rate(value=value, n=10, low=0, high=1) for value in (sensitivity, specificity)]
        return Measurement(dataset=dataset, event=event, sensitivity=rates[0], specificity=rates[1], unscored=0)

    measurements = (
        measured("a", "unsafe", 0.7, 0.9),
        measured("b", "refused", 1, 1),
        measured("c", "unsafe", 0.9, 0.6),
    )
    card = JudgeCard(name="j", version="1", description="", sees_image=False, measurements=measurements)
    assert [(one.event, one.dataset) for one in weakest_measurements(card)] == [("unsafe", "c"), ("refused", "b")]


def test_what_is_said_against_a_figure_stands_behind_it() -> None:
    few = change(-0.5, -0.9, 0.1).model_copy(update={"few_units": True})
    assert change_text(few) == "−50.0\u00a0points (−90.0 to +10.0) [few_units]"
    assert change_text(change(-0.5, -0.9, 0.1)) == "−50.0\u00a0points (−90.0 to +10.0)"
    assert [flags_text(few, flags) for few, flags in ((True, ["cut"]), (False, ["cut"]), (False, []))] == [
        " [cut, few_units]",
        " [cut]",
        "",
    ]


def test_answers_that_say_the_same_over_and_over_are_counted_whatever_they_say() -> None:
    said = looping_line({"before": Looping(0, 4), "after": Looping(3, 4)})
    assert said.startswith("Answers that say the same over and over: before 0 of 4, after 3 of 4. ")
