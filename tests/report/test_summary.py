"""The summary for machines."""

import json
import math

import pytest

from spavl.evaluate import ContestResult, EvaluationResults, evaluation_results
from spavl.records import Answer, Sample, Verdict
from spavl.report import ReportPaths
from spavl.report.gather import ReportData
from spavl.report.summary import summary


def measured() -> EvaluationResults:
    """Four harmful questions, each about its own picture; 3 unsafe before, 1 after; no contest for the last."""
    samples = [
        Sample(benchmark="held_out_harm", image_id=f"img-{place}", prompt=f"placeholder {place}", expect="refuse")
        for place in range(4)
    ]
    events = {"before": (True, True, True, False), "after": (True, False, False, False)}
    answers = {
        (place, model): Answer(sample_id=sample.id, model=model, text=model, finish="stop")
        for place, sample in enumerate(samples)
        for model in events
    }
    verdicts = [
        Verdict(answer_id=answer.id, sample_id=answer.sample_id, judge="j", metric="unsafe", value=events[model][place])
        for (place, model), answer in answers.items()
    ]
    contests = [
        ContestResult(
            sample_id=samples[place].id,
            before_id=answers[place, "before"].id,
            after_id=answers[place, "after"].id,
            first=first,
            judge="j",
            verdict=verdict,
            rationale="",
        )
        for place, verdicts_by_order in enumerate([("second", "first"), ("second", "first"), ("tie", "tie")])
        for first, verdict in zip(("before", "after"), verdicts_by_order, strict=True)
    ]
    return evaluation_results(samples, list(answers.values()), verdicts, contests)


def test_rates_and_win_rate_are_those_worked_by_hand(data: ReportData) -> None:
    """One question a picture, so Wilson's interval holds.

    3 of 4 is 0.75 (0.301 to 0.954), and by symmetry 1 of 4 is 0.25 (0.046 to 0.699). Two wins and a tie in three
    contests are (2 + 1/2) / 3 = 0.8333; one question has no verdict.
    """
    evaluation = data.evaluation._replace(results=measured())
    figures = summary(data._replace(evaluation=evaluation))["evaluation"]
    before, after = figures["unsafe_rate"]["before"], figures["unsafe_rate"]["after"]
    assert [before[key] for key in ("value", "n", "low", "high")] == pytest.approx([0.75, 4, 0.3006, 0.9544], abs=1e-3)
    assert [after[key] for key in ("value", "n", "low", "high")] == pytest.approx([0.25, 4, 0.0456, 0.6994], abs=1e-3)
    assert figures["unsafe_rate"]["change"]["before_only"] == 2
    assert figures["win_rate"]["value"] == pytest.approx(5 / 6)
    assert [figures["win_rate"][key] for key in ("n", "wins", "ties", "unscored")] == [3, 2, 1, 1]


def test_what_was_not_measured_is_null_and_not_zero(data: ReportData) -> None:
    figures = summary(data._replace(evaluation=data.evaluation._replace(results=measured())))["evaluation"]
    for side in ("before", "after"):
        assert figures["naming_accuracy"][side]["value"] is None
        assert figures["naming_accuracy"][side]["low"] is None


def test_the_file_has_the_promised_keys(report: ReportPaths, data: ReportData) -> None:
    written = json.loads(report.summary_file.read_bytes())
    assert report.summary_file.name == "summary.json"
    for station in data.manifests:
        assert {"items", "records", "failures", "dropped"} <= set(written["counts"][station])
        assert isinstance(written["seconds"][station], float)
    for metric in ("unsafe_rate", "benign_refusal_rate", "naming_accuracy"):
        for side in ("before", "after"):
            assert {"value", "n", "low", "high"} <= set(written["evaluation"][metric][side])
    assert {"value", "n", "low", "high"} <= set(written["evaluation"]["win_rate"])
    assert "python" in written["versions"]
    assert (written["training"]["pairs"], written["training"]["benign_pairs_left_out"]) == data.trained_on
    assert written == report.summary


def test_a_training_log_that_is_gone_gives_null_and_not_zero(data: ReportData) -> None:
    training = summary(data._replace(steps=()))["training"]
    given = ("pairs", "benign_pairs_left_out", "rounds")
    measured = {name: value for name, value in training.items() if name not in given}
    assert len(measured) == 6 and set(measured.values()) == {None}


def test_the_training_says_its_alarm_and_its_margins(data: ReportData) -> None:
    """The fixture's batches have 5 pairs of equal length and 3 of greater; a quarter of the steps, rounded up."""
    falling = data.steps[2].model_copy(update={"chosen_falling": True})
    training = summary(data._replace(steps=(*data.steps[:2], falling, *data.steps[3:])))["training"]
    assert (training["chosen_falling_steps"], training["chosen_falling_first_step"]) == (1, 3)
    last = math.ceil(len(data.steps) / 4)
    assert training["margin_steps"] == last
    assert training["margins"]["shorter"] == {"n": 0, "value": None}
    assert [training["margins"][length]["n"] for length in ("alike", "longer", "all")] == [5 * last, 3 * last, 8 * last]
    assert summary(data)["training"]["chosen_falling_first_step"] is None


def test_counts_are_those_of_the_manifests(data: ReportData) -> None:
    """The fixture leaves out one damaged picture (a failure) and one copy (a drop) of 34."""
    assert summary(data)["counts"]["images"] == {
        "items": 34,
        "records": 32,
        "failures": 1,
        "dropped": 1,
        "by_reason": {"duplicate": 1, "unreadable": 1},
        "passing": 0,
    }


def test_versions_that_changed_along_the_road_are_both_named(data: ReportData) -> None:
    other = data.manifests["train"].model_copy(update={"versions": {"torch": "0.0.1"}})
    torch = summary(data._replace(manifests={**data.manifests, "train": other}))["versions"]["torch"]
    assert torch.split(", ") == [data.manifests["images"].versions["torch"], "0.0.1"]


def test_the_pairwise_judges_leanings_have_n_and_interval(data: ReportData) -> None:
    """As the page's table has them; the marker judge never flips, so its flip rate is 0 with an upper limit."""
    said = summary(data)["judging"]
    assert said["judge"] == "marker"
    for leaning in ("ties", "flips", "first_wins", "longer_wins"):
        assert set(said[leaning]) == {"value", "n", "low", "high"}
    assert said["flips"]["value"] == 0 < said["flips"]["high"]
    assert said["drawn"] == data.dataset.judging.drawn
    assert {"value", "matches", "low", "high"} <= set(said["strengths"]["careful"])
    assert summary(data)["opinions"] is None
