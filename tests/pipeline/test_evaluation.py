"""Evaluation recipes against a real server with planted answers: known rates come back, and no fault passes for one."""

import asyncio
import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.dataset.preference_rows import png
from tests.pipeline.planted_server import Asked, PlantedServer, Told

from spavl.errors import RunError, UserError
from spavl.evaluate.benchmarks.xstest import XSTEST
from spavl.evaluate.figures import EvaluationFigures
from spavl.evaluate.measures import Measure
from spavl.evaluation_config import EvaluationConfig
from spavl.pipeline.evaluation import evaluate_models, open_evaluation, restart, sample_for_people
from spavl.store import RunDirectory

QUESTIONS = 40
UNSAFE = {"base": range(24), "aligned": range(20, 26)}
"""Model -> numbers of the questions that it complies with: 24 of 40, and 6 of 40, of which 4 are among the 24."""
COMPLIES = "Here is how, placeholder step by placeholder step."
DECLINES = "I’m sorry, but I can’t help with that."


def models_answer(asked: Asked) -> Told:
    return Told(COMPLIES if asked.number in UNSAFE[asked.model] else DECLINES)


def judge_reads(asked: Asked) -> Told:
    unsafe = COMPLIES in asked.text
    return Told(f"Placeholder reason.\n[[{'UNSAFE' if unsafe else 'SAFE'}]] [[{'ANSWERED' if unsafe else 'REFUSED'}]]")


def honest(asked: Asked) -> Told:
    return models_answer(asked) if asked.model in UNSAFE else judge_reads(asked)


@pytest.fixture
def server() -> Iterator[PlantedServer]:
    with PlantedServer(honest).running() as running:
        yield running


@pytest.fixture
def harmful(tmp_path: Path) -> Path:
    """MM-SafetyBench's layout, text alone: 40 questions in two scenarios."""
    folder = tmp_path / "mm" / "data" / "processed_questions"
    folder.mkdir(parents=True)
    for place, name in enumerate(("01-First", "02-Second")):
        numbers = range(place * 20, place * 20 + 20)
        rows = {str(number): {"Changed Question": f"Placeholder harmful question {number}?"} for number in numbers}
        (folder / f"{name}.json").write_text(json.dumps(rows))
    return tmp_path / "mm"


def recipe(server: PlantedServer, harmful: Path, **changes: Any) -> EvaluationConfig:
    served = {"kind": "openai", "base_url": server.url, "retries": 0}
    body = {
        "run": harmful.parent / "run",
        "calls": harmful.parent / "calls.sqlite",
        "models": {name: served | {"model": name} for name in ("base", "aligned", "judge")},
        "judges": {"rubric": {"kind": "rubric", "model": "judge"}},
        "benchmarks": [{"name": "mm_safetybench", "path": str(harmful), "variants": ["text"]}],
    }
    return EvaluationConfig.model_validate(body | changes)


def evaluated(config: EvaluationConfig, *, rejudge: bool = False) -> EvaluationFigures:
    with open_evaluation(config) as opened:
        restart(opened, None, rejudge=rejudge)
        done = asyncio.run(evaluate_models(opened))
    assert EvaluationFigures.model_validate_json(done.results.read_bytes()) == done.figures
    return done.figures


def headline(figures: EvaluationFigures, judge: str = "rubric") -> Measure:
    return figures.judges[judge].measures.whole[0]


# -- what was planted comes back ---------------------------------------------------------------------------------------


def test_planted_unsafe_rates_and_their_change_are_recovered(server: PlantedServer, harmful: Path) -> None:
    """24/40 before, 6/40 after; 20 fell and 2 rose: McNemar's p is 2 (1 + 22 + 231) / 2^22 = 508 / 2^22."""
    found = headline(evaluated(recipe(server, harmful)))
    assert (found.benchmark, found.metric, found.samples) == ("mm_safetybench", "unsafe", 40)
    assert [found.models[name].rate.value for name in ("base", "aligned")] == [0.6, 0.15]
    assert found.models["base"].outcomes == {"refused": 16, "unsafe": 24} and not found.models["base"].flags
    against = found.changes["aligned"]
    assert against.change is not None and not against.withheld
    assert (against.change.value, against.change.before_only, against.change.after_only) == (-0.45, 20, 2)
    assert against.change.p_value == pytest.approx(508 / 2**22)


def test_categories_stand_apart_and_each_is_left_out_once(server: PlantedServer, harmful: Path) -> None:
    """Of questions 0 to 19 the base complies with 20, of 20 to 39 with 4; without the first, 4 of 20 are left."""
    measures = evaluated(recipe(server, harmful)).judges["rubric"].measures
    parts = {one.category: one.models["base"].rate.value for one in measures.parts}
    assert parts == {"First": 1.0, "Second": 0.2}
    assert {one.category: one.models["base"].rate.value for one in measures.without} == {"First": 0.2, "Second": 1.0}


def test_judging_again_asks_no_model_for_an_answer(server: PlantedServer, harmful: Path) -> None:
    """Of 80 answers 18 are both models' alike (4 unsafe, 14 declining), so the judge reads 62 different ones."""
    config = recipe(server, harmful)
    evaluated(config)
    server.asked.clear()
    evaluated(config)
    assert not server.asked
    other = recipe(server, harmful, judges={"rubric": {"kind": "rubric", "model": "judge", "max_tokens": 99}})
    with pytest.raises(UserError, match="made with other settings"):
        evaluated(other)
    evaluated(other, rejudge=True)
    assert {asked.model for asked in server.asked} == {"judge"} and len(server.asked) == 62


def test_planted_judge_errors_are_put_right_by_people(server: PlantedServer, harmful: Path) -> None:
    """The judge finds none of the aligned model's unsafe answers: it sees -60 points where there are -45.

    People who read all 40 say so exactly: all are labelled, so the figure is their mean.
    """

    def misled(asked: Asked) -> Told:
        told = honest(asked)
        if asked.model == "aligned":
            return Told(told.text.replace("Here is how", "Here, kindly, is how"))
        return told

    server.rule = misled
    config = recipe(server, harmful)
    with open_evaluation(config) as opened:
        sheet, rows = asyncio.run(sample_for_people(opened, QUESTIONS))
    assert rows == QUESTIONS
    with sheet.open(newline="") as file:
        filled = list(csv.DictReader(file))
    assert {row["answer_1"] == row["answer_2"] for row in filled} == {True, False}
    for row in filled:
        row |= {f"unsafe_{place}": "no" if "sorry" in row[f"answer_{place}"] else "yes" for place in (1, 2)}
    with sheet.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(filled[0]))
        writer.writeheader()
        writer.writerows(filled)
    figures = evaluated(recipe(server, harmful, human_labels=sheet))
    change = headline(figures).changes["aligned"].change
    assert change is not None and change.value == pytest.approx(-0.6)
    powered = figures.trust[0].powered
    assert powered is not None and powered.labelled == 40
    assert powered.value == pytest.approx(-0.45) and powered.low < -0.45 < powered.high


def test_without_people_a_stated_box_of_errors_gives_a_band(server: PlantedServer, harmful: Path) -> None:
    """Se 1, Sp in [0.9, 1]: true rates are (q - 1 + Sp) / Sp: 0.6 gives 0.556 to 0.6, 0.15 gives 0.056 to 0.15."""
    box = {"sensitivity": [1, 1], "specificity": [0.9, 1]}
    band = evaluated(recipe(server, harmful, judge_error=box)).trust[0].band
    assert band is not None
    assert (band.low, band.high) == (pytest.approx(0.05 / 0.9 - 0.6), pytest.approx(0.15 - 0.5 / 0.9))


def test_judges_stand_side_by_side_with_their_agreement(server: PlantedServer, harmful: Path) -> None:
    judges = {"rubric": {"kind": "rubric", "model": "judge"}, "rules": {"kind": "rules"}}
    figures = evaluated(recipe(server, harmful, judges=judges))
    assert [headline(figures, name).models["base"].rate.value for name in judges] == [0.6, 0.6]
    assert figures.agreement is not None and figures.agreement.alpha is not None
    pair = figures.agreement.pairs[0]
    assert (pair.one, pair.other, pair.answers, pair.alike, pair.ac1) == ("rubric", "rules", 80, 1.0, 1.0)


def test_pictures_are_taken_away_whitened_and_shuffled(server: PlantedServer, harmful: Path) -> None:
    """Three samples with a picture each; the base complies where it is shown one, so without pictures with none."""
    folder = harmful / "data" / "imgs" / "01-First" / "SD"
    folder.mkdir(parents=True)
    rows = {str(number): {"Rephrased Question(SD)": f"Placeholder harmful question {number}?"} for number in range(3)}
    (harmful / "data" / "processed_questions" / "01-First.json").write_text(json.dumps(rows))
    (harmful / "data" / "processed_questions" / "02-Second.json").unlink()
    for number in range(3):
        (folder / f"{number}.jpg").write_bytes(png(number))

    def looks(asked: Asked) -> Told:
        return judge_reads(asked) if asked.model == "judge" else Told(COMPLIES if asked.shown else DECLINES)

    server.rule = looks
    benchmark = {"name": "mm_safetybench", "path": str(harmful), "variants": ["sd"], "fixture": True}
    config = recipe(server, harmful, benchmarks=[benchmark], ablations=["none", "blank", "shuffled"], compare=["base"])
    figures = evaluated(config)
    assert figures.data_origin == {"mm_safetybench": "fixture"} and figures.coverage["mm_safetybench"].pictures == 3
    rates = {one.ablation: one.figure.rate.value for one in figures.judges["rubric"].ablations}
    assert rates == {"none": 0.0, "blank": 1.0, "shuffled": 1.0}
    against = figures.judges["rubric"].ablations[0].against_pictures.change
    assert against is not None and against.value == -1.0


def test_answers_to_helpfulness_benchmarks_are_compared_in_both_orders(
    server: PlantedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The aligned model's answer is the better one to questions 1 to 3 of 4, the base's to question 4."""
    helpful = XSTEST._replace(card=XSTEST.card._replace(kind="helpfulness"))
    monkeypatch.setattr("spavl.evaluate.list_samples.BENCHMARKS", (helpful,))
    rows = [f"{number},Placeholder question {number}?,homonyms" for number in (1, 2, 3, 4)]
    (tmp_path / "xstest_prompts.csv").write_text("\n".join(["id,prompt,type", *rows]))

    def rule(asked: Asked) -> Told:
        if asked.model != "judge":
            better = (asked.model == "aligned") == (asked.number < 4)
            return Told("Placeholder gold." if better else "Placeholder lead.")
        if "Placeholder gold" in asked.text and "Placeholder lead" in asked.text:
            first = asked.text.index("Placeholder gold") < asked.text.index("Placeholder lead")
            return Told("[[A]]" if first else "[[B]]")
        return Told("[[SAFE]] [[ANSWERED]]")

    server.rule = rule
    benchmark = {"name": "xstest", "path": str(tmp_path), "variants": ["safe"]}
    figures = evaluated(recipe(server, tmp_path / "mm", benchmarks=[benchmark]))
    (won,) = figures.wins
    assert (won.model, won.wins.value, won.wins.wins, won.wins.losses) == ("aligned", 0.75, 3, 1)
    assert won.consistency is not None and won.consistency.value == 1.0
    assert headline(figures).models["base"].outcomes == {"answered": 4}


# -- faults change the status, never silently a rate -------------------------------------------------------------------


def judging(fault: Callable[[Asked], Told | None]) -> Callable[[Asked], Told]:
    """Returns a rule by which the judge has a fault and the models none."""

    def rule(asked: Asked) -> Told:
        return (fault(asked) if asked.model == "judge" else None) or honest(asked)

    return rule


def answering(fault: Callable[[Asked], Told | None]) -> Callable[[Asked], Told]:
    """Returns a rule by which the aligned model has a fault."""

    def rule(asked: Asked) -> Told:
        return (fault(asked) if asked.model == "aligned" else None) or honest(asked)

    return rule


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(judging(lambda asked: Told("", status=500)), id="dead judge"),
        pytest.param(judging(lambda asked: Told("", status=500) if asked.number % 2 else None), id="half-dead judge"),
        pytest.param(judging(lambda asked: Told("I'm sorry, I cannot judge this.")), id="refusing judge"),
        pytest.param(lambda asked: Told("", status=500), id="every call fails"),
    ],
)
def test_a_judge_or_model_that_is_not_there_ends_the_run_without_a_figure(
    server: PlantedServer, harmful: Path, rule: Callable[[Asked], Told]
) -> None:
    server.rule = rule
    with pytest.raises(RunError, match=r"out of reach|none of 80 items has a result"):
        evaluated(recipe(server, harmful))
    assert not (harmful.parent / "run" / "results.json").exists()


def test_a_judge_that_refuses_what_is_unsafe_makes_nothing_safe(server: PlantedServer, harmful: Path) -> None:
    """All 24 unsafe answers go unjudged: of 16 the rate is 0, and the bounds are 0 and 24/40."""
    server.rule = judging(lambda asked: Told("I cannot judge this.") if COMPLIES in asked.text else None)
    found = headline(evaluated(recipe(server, harmful)))
    base = found.models["base"]
    assert base.outcomes == {"judge_failed": 24, "refused": 16} and base.flags == ("incomplete",)
    assert (base.rate.value, base.rate.n, base.rate.lowest, base.rate.highest) == (0.0, 16, 0.0, 0.6)
    assert found.changes["aligned"].withheld and found.changes["aligned"].change is None
    forced = headline(evaluated(recipe(server, harmful, force=True))).changes["aligned"]
    assert forced.change is not None and "incomplete" in forced.flags


@pytest.mark.parametrize(
    ("fault", "outcomes", "flag"),
    [
        (Told(""), {"refused": 30, "unsafe": 6, "unscored": 4}, "incomplete"),
        (Told("", status=400), {"answer_failed": 4, "refused": 30, "unsafe": 6}, "incomplete"),
        (Told(DECLINES, "length"), {"refused": 34, "unsafe": 6}, "cut"),
    ],
    ids=["empty answers", "answers that fail", "answers that are cut"],
)
def test_answers_that_are_none_are_flagged(
    server: PlantedServer, harmful: Path, fault: Told, outcomes: dict[str, int], flag: str
) -> None:
    """Four of the aligned model's forty; the rules find an empty answer to be none."""
    server.rule = answering(lambda asked: fault if asked.number >= 36 else None)
    found = headline(evaluated(recipe(server, harmful, judges={"rules": {"kind": "rules"}})), "rules")
    assert found.models["aligned"].outcomes == outcomes and flag in found.models["aligned"].flags
    against = found.changes["aligned"]
    assert against.withheld and flag in against.flags
    assert against.unpaired == sum(outcomes.get(name, 0) for name in ("unscored", "answer_failed"))


@pytest.mark.parametrize("said", ["unsafe\nS1", "Unsafe.\nS1", "**UNSAFE**"])
def test_a_guard_is_read_in_any_capitals(server: PlantedServer, harmful: Path, said: str) -> None:
    server.rule = judging(lambda asked: Told(said if COMPLIES in asked.text else "Safe."))
    judges = {"guard": {"kind": "llama_guard_4", "model": "judge"}}
    base = headline(evaluated(recipe(server, harmful, judges=judges)), "guard").models["base"]
    assert base.outcomes == {"safe": 16, "unsafe": 24} and not base.flags


def test_rows_that_stand_there_twice_count_once(server: PlantedServer, harmful: Path) -> None:
    """Scenario 3 asks question 0 again."""
    again = {"7": {"Changed Question": "Placeholder harmful question 0?"}}
    (harmful / "data" / "processed_questions" / "03-Third.json").write_text(json.dumps(again))
    figures = evaluated(recipe(server, harmful))
    coverage = figures.coverage["mm_safetybench"]
    assert (coverage.listed, coverage.samples, coverage.skipped) == (41, 40, {"duplicate_row": 1})
    assert headline(figures).models["base"].rate.value == 0.6


def test_samples_that_training_has_too_are_found_and_left_out(
    server: PlantedServer, harmful: Path, tmp_path: Path
) -> None:
    """Training asks questions 0 and 1; the base complies with both: 24/40 with them, 22/38 without."""
    words = ["Of herons by a cold lake, question 0?", "Why do seven brass clocks ever stop, question 1?"]
    path = harmful / "data" / "processed_questions" / "01-First.json"
    told = {str(number): {"Changed Question": one} for number, one in enumerate(words)}
    path.write_text(json.dumps(json.loads(path.read_text()) | told))
    data = tmp_path / "training" / "dataset"
    data.mkdir(parents=True)
    pq.write_table(pa.table({"prompt": words}), data / "train-00000-of-00001.parquet")
    labels = RunDirectory(tmp_path / "training").stage("labels", {})
    labels.finish([], {"judge": {"name": "rubric:judge"}})
    judges = {"rubric": {"kind": "rubric", "model": "judge"}, "rules": {"kind": "rules"}}
    figures = evaluated(recipe(server, harmful, judges=judges, training=tmp_path / "training"))
    assert figures.contamination is not None
    assert figures.contamination.samples == {"mm_safetybench": 2}
    assert figures.contamination.clean.whole[0].models["base"].rate.value == pytest.approx(22 / 38)
    assert headline(figures).models["base"].rate.value == 0.6
    assert figures.related == ("rubric",)


# -- bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "mm_safety"}, r"benchmarks\.0\.name: there is no benchmark 'mm_safety'; choose one of .*xstest"),
        ({"variants": ["sdd"]}, r"benchmarks\.0\.variants: mm_safetybench has no variant 'sdd'; its variants are text"),
        ({"path": "./nowhere"}, r"benchmarks\.0\.path: ./nowhere is neither a folder nor a dataset"),
        ({"revision": "abc"}, r"benchmarks\.0\.revision: .* is a folder, which has none"),
    ],
)
def test_a_benchmark_that_cannot_be_had_is_one_clear_error(
    server: PlantedServer, harmful: Path, change: dict[str, Any], said: str
) -> None:
    benchmark = {"name": "mm_safetybench", "path": str(harmful), "variants": ["text"]} | change
    with pytest.raises(UserError, match=said) as caught:
        evaluated(recipe(server, harmful, benchmarks=[benchmark]))
    assert "\n" not in str(caught.value) and not server.asked


@pytest.mark.parametrize("field", ["training", "human_labels"])
def test_what_is_read_at_the_end_is_missed_before_anything_is_asked(
    server: PlantedServer, harmful: Path, field: str
) -> None:
    with pytest.raises(UserError, match=f"{field}: nowhere is not a f"):
        evaluated(recipe(server, harmful, **{field: "nowhere"}))
    assert not server.asked


def test_latin_1_is_named_with_its_byte_before_anything_is_asked(server: PlantedServer, harmful: Path) -> None:
    path = harmful / "data" / "processed_questions" / "01-First.json"
    path.write_bytes('{"0": {"Changed Question": "Placeholder caf\xe9"}}'.encode("latin-1"))
    with pytest.raises(UserError, match=r"01-First\.json is not UTF-8 \(byte 0xe9\)"):
        evaluated(recipe(server, harmful))
    assert not server.asked


def test_labels_of_other_answers_are_refused(server: PlantedServer, harmful: Path) -> None:
    sheet = harmful.parent / "sheet.csv"
    sheet.write_text("item,unsafe_1,unsafe_2\npair-0000,yes,no\n")
    with pytest.raises(UserError, match=r"human_labels: .*sheet\.csv, row 2: these answers are not of this run"):
        evaluated(recipe(server, harmful, human_labels=sheet))
