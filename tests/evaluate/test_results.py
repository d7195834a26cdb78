"""The figures of an evaluation, worked by hand on a few samples."""

import itertools

from spavl.evaluate import ContestResult, EvaluationResults, evaluation_results
from spavl.records import Answer, Sample, Verdict

METRIC = {"held_out_harm": "unsafe", "held_out_benign": "refused", "naming": "named"}
EXPECT = {"held_out_harm": "refuse", "held_out_benign": "comply", "naming": "name"}


def sample(benchmark: str, number: int, held_out: str = "image") -> Sample:
    return Sample(
        benchmark=benchmark,
        image_id=f"img-{number}",
        prompt=f"Placeholder question {number}?",
        expect=EXPECT[benchmark],
        held_out=held_out,
    )


def answer(one: Sample, model: str) -> Answer:
    return Answer(sample_id=one.id, model=model, text=f"{model} answer", finish="stop")


def verdict(one: Sample, model: str, value: bool) -> Verdict:
    return Verdict(
        answer_id=answer(one, model).id, sample_id=one.id, judge="j", metric=METRIC[one.benchmark], value=value
    )


def results(
    samples: list[Sample], values: dict[str, list[bool | None]], contests: list[ContestResult] | None = None
) -> EvaluationResults:
    """Builds verdicts from one list of values for each model; None is an answer the judge could not score."""
    answers = [answer(one, model) for model in values for one in samples]
    verdicts = [
        verdict(one, model, value)
        for model, scored in values.items()
        for one, value in zip(samples, scored, strict=True)
        if value is not None
    ]
    return evaluation_results(samples, answers, verdicts, contests or [])


def test_rates_before_and_after_with_wilsons_interval() -> None:
    """8 of 10 before, 1 of 10 after; Wilson 95 % of 8/10 is 49.0-94.3 %, of 1/10 it is 1.8-40.4 %."""
    samples = [sample("held_out_harm", number) for number in range(10)]
    metric = results(samples, {"before": [True] * 8 + [False] * 2, "after": [True] + [False] * 9}).metrics[
        "unsafe_rate"
    ]
    assert (metric.before.value, metric.before.n, metric.after.value) == (0.8, 10, 0.1)
    assert (round(metric.before.low, 3), round(metric.before.high, 3)) == (0.490, 0.943)
    assert (round(metric.after.low, 3), round(metric.after.high, 3)) == (0.018, 0.404)


def test_the_change_is_paired_and_its_p_value_exact() -> None:
    """7 fixed, 0 broken: p = 2 / 2^7 = 1/64, then times 1 (Holm over one tested metric)."""
    samples = [sample("held_out_harm", number) for number in range(10)]
    change = (
        results(samples, {"before": [True] * 8 + [False] * 2, "after": [True] + [False] * 9})
        .metrics["unsafe_rate"]
        .change
    )
    assert change is not None
    assert (round(change.value, 6), change.before_only, change.after_only, change.p_value) == (-0.7, 7, 0, 1 / 64)


def test_unscored_answers_are_in_no_rate_but_in_the_bounds() -> None:
    """4 events of 6 scored and 4 unscored: the rate is 4/6, the bounds 4/10 and 8/10."""
    samples = [sample("held_out_harm", number) for number in range(10)]
    before = [True] * 4 + [False] * 2 + [None] * 4
    rate = results(samples, {"before": before, "after": [False] * 10}).metrics["unsafe_rate"].before
    assert (rate.value, rate.n, rate.unscored) == (4 / 6, 6, 4)
    assert (rate.lowest, rate.highest) == (0.4, 0.8)


def test_a_dead_judge_measures_nothing_and_not_zero() -> None:
    samples = [sample("held_out_harm", number) for number in range(5)]
    metric = results(samples, {"before": [None] * 5, "after": [None] * 5}).metrics["unsafe_rate"]
    assert (metric.before.value, metric.before.n, metric.before.unscored) == (None, 0, 5)
    assert metric.change is None


def test_questions_that_share_a_picture_widen_the_interval() -> None:
    """20 questions on 5 pictures, all four of a picture alike: as good as 5 items, so wider than 20 single ones."""
    shared = [
        sample("held_out_harm", number).model_copy(update={"image_id": f"img-{number // 4}"}) for number in range(20)
    ]
    alone = [sample("held_out_harm", number) for number in range(20)]
    values = [number // 4 < 3 for number in range(20)]
    wide = results(shared, {"before": values, "after": values}).metrics["unsafe_rate"].before
    narrow = results(alone, {"before": values, "after": values}).metrics["unsafe_rate"].before
    assert wide.value == narrow.value == 0.6
    assert wide.high - wide.low > narrow.high - narrow.low


def test_held_out_leaves_and_held_out_pictures_are_told_apart() -> None:
    samples = [sample("held_out_harm", number, "leaf" if number < 4 else "image") for number in range(10)]
    values = [True] * 4 + [False] * 6
    found = results(samples, {"before": values, "after": values}).by_held_out
    assert (found["leaf"].before.value, found["leaf"].before.n) == (1.0, 4)
    assert (found["image"].before.value, found["image"].before.n) == (0.0, 6)


def contest(one: Sample, first: str, verdict_: str) -> ContestResult:
    return ContestResult(
        sample_id=one.id,
        before_id=answer(one, "before").id,
        after_id=answer(one, "after").id,
        first=first,
        judge="j",
        verdict=verdict_,
        rationale="",
    )


def test_the_win_rate_counts_ties_and_order_flips_half() -> None:
    """Win, loss, tie, flip (first both times): (1 + 0 + 1/2 + 1/2) / 4 = 1/2; a fifth was judged in one order only."""
    samples = [sample("held_out_harm", number) for number in range(5)]
    orders = [("first", "second"), ("second", "first"), ("tie", "tie"), ("first", "first")]
    contests = list(
        itertools.chain.from_iterable(
            (contest(one, "after", there), contest(one, "before", back))
            for one, (there, back) in zip(samples, orders, strict=False)
        )
    )
    contests.append(contest(samples[4], "after", "first"))
    wins = results(samples, {"before": [True] * 5, "after": [False] * 5}, contests).win_rate
    assert (wins.value, wins.n, wins.unscored) == (0.5, 4, 1)
    assert (wins.wins, wins.ties, wins.losses, wins.inconsistent) == (1, 1, 1, 1)
