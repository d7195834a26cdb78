"""Figures of recipes by hand: outcomes, capability against a margin, categories, win rates, a judge's errors."""

import pytest

from spavl.errors import RunError
from spavl.evaluate.benchmarks.multiple_choice import MMBENCH_CARD
from spavl.evaluate.benchmarks.xstest import CARD
from spavl.evaluate.contests import ContestResult
from spavl.evaluate.judge_trust import judge_errors
from spavl.evaluate.measures import ModelChange, Part, Rules, measure, measure_all
from spavl.evaluate.outcomes import Judged, Reading, Readings, read_outcomes
from spavl.evaluate.verdicts import Scorers, rule_verdict
from spavl.evaluate.win_figures import win_figures
from spavl.judges.base import JudgeCard, Measurement
from spavl.records import Answer, Failure, Sample, Verdict
from spavl.stats import Rate

RULES = Rules("base", 0.95, 0.02, force=False, margin=0.1)
MODELS = ("base", "aligned")


def sample(number: int, category: str = "", expect: str = "refuse", benchmark: str = "xstest") -> Sample:
    prompt = f"Placeholder question {number}?"
    return Sample(benchmark=benchmark, image_id="", prompt=prompt, expect=expect, category=category)


def scores(samples: list[Sample], **values: list[float | None]) -> Readings:
    return {
        (one.id, model): Reading("unscored" if value is None else "right", value, False, 10)
        for model, given in values.items()
        for one, value in zip(samples, given, strict=True)
    }


def test_text_questions_are_not_one_cluster() -> None:
    """Wilson's interval of 1 of 2: 9.5 to 90.5 %; one cluster of two would say nothing."""
    samples = [sample(0), sample(1)]
    found = measure(Part(CARD, "unsafe", samples), scores(samples, base=[1, 0]), ("base",), RULES)
    rate = found.models["base"].rate
    assert rate.low is not None and rate.high is not None
    assert (round(rate.low, 3), round(rate.high, 3)) == (0.095, 0.905)


def test_capability_with_parts_of_a_point_is_held_against_the_margin() -> None:
    """Nothing changed: Wilson's limit for 0 of 40 is 8.8 %, within the margin of 10 points; for 0 of 30 it is 11.4 %.

    A fall from 0.6 to 0.3 is worse by more than the margin.
    """

    def against(size: int, after: float) -> ModelChange:
        samples = [sample(number, expect="answer") for number in range(size)]
        readings = scores(samples, base=[0.6] * size, aligned=[after] * size)
        return measure(Part(CARD, "right", samples), readings, MODELS, RULES).changes["aligned"]

    assert [against(size, 0.6).not_inferior for size in (40, 30)] == ["not worse", "not shown"]
    fallen = against(40, 0.3)
    assert fallen.not_inferior == "worse"
    assert fallen.change is not None and fallen.change.value == pytest.approx(-0.3)


def test_p_values_are_adjusted_over_benchmarks_and_over_categories() -> None:
    """Two benchmarks, each with 6 fixed of 6: p = 2 / 2^6 = 1/32, by Holm 1/16.

    A category of 3 fixed has p = 1/4, and four equal ones stay so by Benjamini and Hochberg.
    """
    samples = [
        sample(number, category, benchmark=name)
        for name in ("xstest", "other")
        for number, category in enumerate("aaabbb")
    ]
    readings = scores(samples, base=[1] * 12, aligned=[0] * 12)
    found = measure_all({"xstest": CARD, "other": CARD._replace(name="other")}, samples, readings, MODELS, RULES)
    changes = [one.changes["aligned"].change for one in found.whole]
    assert [one.p_value for one in changes if one is not None] == [1 / 16, 1 / 16]
    parts = [one.changes["aligned"].change for one in found.parts]
    assert [one.p_value for one in parts if one is not None] == [1 / 4] * 4
    assert [(one.benchmark, one.category, one.samples) for one in found.without][:2] == [
        ("xstest", "a", 3),
        ("xstest", "b", 3),
    ]


def test_rows_without_a_category_beside_others_with_one_are_a_part_of_their_own_name() -> None:
    samples = [sample(number, category) for number, category in enumerate(("a", "a", "", ""))]
    readings = scores(samples, base=[1, 1, 0, 0], aligned=[0, 0, 0, 0])
    found = measure_all({"xstest": CARD}, samples, readings, MODELS, RULES)
    for parts in (found.parts, found.without):
        assert [(one.subset, one.category, one.samples) for one in parts] == [("", "a", 2), ("", "none", 2)]


def test_more_missing_than_allowed_withholds_the_change() -> None:
    """One of 40 is 2.5 %, above 2 %; one of 50 is 2 %, which is let pass."""
    for size, withheld in ((40, True), (50, False)):
        samples = [sample(number) for number in range(size)]
        values: list[float | None] = [None, *[1.0] * (size - 1)]
        readings = scores(samples, base=values, aligned=[0.0] * size)
        against = measure(Part(CARD, "unsafe", samples), readings, MODELS, RULES).changes["aligned"]
        assert (against.withheld, against.change is None) == (withheld, withheld)


def test_samples_that_only_one_model_has_withhold_the_change_though_neither_lacks_many() -> None:
    """Each lacks one of 60 (1.7 %), but not the same one: 2 of 60 (3.3 %) are unpaired, above 2 %; 58 have both."""
    samples = [sample(number) for number in range(60)]
    readings = scores(samples, base=[None, *[1.0] * 59], aligned=[*[0.0] * 59, None])
    found = measure(Part(CARD, "unsafe", samples), readings, MODELS, RULES)
    assert [found.models[name].flags for name in MODELS] == [(), ()]
    against = found.changes["aligned"]
    assert (against.unpaired, against.flags, against.withheld, against.change) == (2, ("unpaired",), True, None)
    forced = measure(Part(CARD, "unsafe", samples), readings, MODELS, RULES._replace(force=True)).changes["aligned"]
    assert forced.change is not None and (forced.change.n, forced.change.value) == (58, -1.0)


def test_nothing_scored_is_not_measured_and_not_zero() -> None:
    samples = [sample(0)]
    figure = measure(Part(CARD, "unsafe", samples), scores(samples, base=[None]), ("base",), RULES).models["base"]
    assert figure.rate.value is None and figure.flags == ("not measured", "incomplete")


# -- outcomes ----------------------------------------------------------------------------------------------------------


def answer(one: Sample, model: str = "base", text: str = "placeholder") -> Answer:
    return Answer(sample_id=one.id, model=model, text=text, finish="stop")


def test_two_answers_to_one_sample_are_refused() -> None:
    one = sample(0)
    with pytest.raises(RunError, match=r"the answer .* stands there twice"):
        read_outcomes([one], [(one.id, "base")], [answer(one), answer(one, text="another")], Judged([], {}))


def test_an_answer_that_was_never_asked_for_is_refused() -> None:
    one = sample(0)
    with pytest.raises(RunError, match="1 answers were never asked for"):
        read_outcomes([one], [(one.id, "aligned")], [answer(one)], Judged([], {}))


def test_an_answer_nobody_judged_is_not_safe() -> None:
    one = sample(0)
    with pytest.raises(RunError, match="neither a verdict nor a failure"):
        read_outcomes([one], [(one.id, "base")], [answer(one)], Judged([], {}))


def test_a_refusal_that_the_judge_calls_unsafe_is_unsafe() -> None:
    one, given = sample(0), answer(sample(0))
    verdict = Verdict(answer_id=given.id, sample_id=one.id, judge="j", metric="unsafe", value=True, refused=True)
    readings = read_outcomes([one], [(one.id, "base")], [given], Judged([verdict], {}))
    assert readings[one.id, "base"].outcome == "unsafe"


def test_a_rule_scores_what_needs_no_judge_and_never_guesses() -> None:
    """`half` is half right; what the rule cannot read, and a benchmark without a rule, are unscored."""
    scorers: Scorers = {"xstest": lambda text, *_: _Scored({"half": 0.5}.get(text))}
    one = sample(0, expect="answer")
    verdict = rule_verdict(one, answer(one, text="half"), scorers)
    assert isinstance(verdict, Verdict) and (verdict.score, verdict.value) == (0.5, True)
    for scored, text in ((scorers, "mumble"), ({}, "half")):
        failure = rule_verdict(one, answer(one, text=text), scored)
        assert isinstance(failure, Failure) and failure.reason == "unscored"


class _Scored:
    def __init__(self, value: float | None) -> None:
        self.value = value
        self.said = "placeholder"


# -- win rates and judges' errors --------------------------------------------------------------------------------------


def test_a_win_rate_comes_with_its_consistency() -> None:
    """Two wins in both orders, one flip, one sample without its second order: (2 + 1/2) / 3, consistent in 2 of 3.

    A quarter is unscored, which is too much to print the rate: it lies between 2.5 / 4 and 3.5 / 4.
    """
    samples = [sample(number, expect="comply") for number in range(4)]
    orders = {0: ("second", "first"), 1: ("second", "first"), 2: ("first", "first"), 3: ("second",)}
    contests = [
        ContestResult(
            sample_id=samples[number].id,
            before_id=f"b{number}",
            after_id=f"a{number}",
            first=first,
            judge="j",
            verdict=verdict,
            rationale="",
        )
        for number, said in orders.items()
        for first, verdict in zip(("before", "after"), said, strict=False)
    ]
    readings = scores(samples, base=[0] * 4, aligned=[0] * 4)
    found = win_figures(Part(CARD, "refused", samples), "aligned", contests, readings, RULES)
    assert (found.wins.value, found.wins.n, found.wins.unscored) == (pytest.approx(2.5 / 3), 3, 1)
    assert found.consistency is not None and found.consistency.value == pytest.approx(2 / 3)
    assert found.at_equal_length is not None and found.at_equal_length.value == pytest.approx(2.5 / 3)
    assert (found.lowest, found.highest, found.withheld) == (2.5 / 4, 3.5 / 4, True)
    part, forced = Part(CARD, "refused", samples), RULES._replace(force=True)
    assert not win_figures(part, "aligned", contests, readings, forced).withheld


def test_the_box_of_errors_spans_all_measurements_of_the_card() -> None:
    def measured(low: float, high: float) -> Measurement:
        rate = Rate(value=(low + high) / 2, n=50, low=low, high=high)
        return Measurement(dataset="labelled", event="unsafe", sensitivity=rate, specificity=rate, unscored=0)

    card = JudgeCard(name="j", version="1", description="", sees_image=False)
    assert judge_errors(card, "unsafe", None).box is None
    two = card.model_copy(update={"measurements": (measured(0.7, 0.8), measured(0.75, 0.9))})
    box = judge_errors(two, "unsafe", None).box
    assert box is not None and box.sensitivity == (0.7, 0.9)
    coin = card.model_copy(update={"measurements": (measured(0.4, 0.9),)})
    assert judge_errors(coin, "unsafe", None) == (None, "by its card the judge may be no better than a coin")


def test_a_circular_question_is_right_where_all_its_orders_are() -> None:
    """Question 0 right in both orders, 1 wrong in one, 2 wrong in one and missing in the other, 3 missing in one.

    Of the fourth only one of two orders was asked, so it is none. Right: 1 of 3, one missing; each order by itself: 4
    right of 7. After alignment all are right.
    """
    asked = [
        Sample(
            benchmark="mmbench",
            image_id=f"picture {question}",
            prompt=f"Placeholder question {question}, order {order}?",
            expect="choose",
            references=("A",),
            choices=("this", "that"),
            cluster=str(question),
            subset="rotated" if order else "published",
        )
        for question in range(5)
        for order in (range(1) if question == 4 else range(2))
    ]
    base: list[float | None] = [1, 1, 1, 0, 0, None, None, 1, 0]
    found = measure_all({"mmbench": MMBENCH_CARD}, asked, scores(asked, base=base, aligned=[1] * 9), MODELS, RULES)
    single, circular = found.whole
    assert (single.metric, circular.metric, single.samples, circular.samples) == ("right", "circular", 9, 4)
    rate = circular.models["base"].rate
    assert (rate.value, rate.n, rate.unscored, rate.lowest, rate.highest) == (1 / 3, 3, 1, 0.25, 0.5)
    assert circular.models["aligned"].rate.value == 1.0
    assert single.models["base"].rate.value == 4 / 7
    assert [(one.metric, one.subset) for one in found.parts] == [("right", "published"), ("right", "rotated")]
