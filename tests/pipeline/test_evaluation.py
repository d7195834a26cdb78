"""Evaluation recipes against a real server with planted answers: known rates come back."""

import asyncio
import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from benchmarks.judge_marks import with_mark
from pydantic import ValidationError
from tests.dataset.preference_rows import png
from tests.pipeline.planted_evaluation import (
    COMPLIES,
    DECLINES,
    QUESTIONS,
    evaluated,
    headline,
    honest,
    judge_reads,
    recipe,
)
from tests.pipeline.planted_server import Asked, PlantedServer, Told

from spavl.errors import UserError
from spavl.evaluate.benchmarks.xstest import XSTEST
from spavl.pipeline.evaluation import sample_for_people
from spavl.pipeline.evaluation_run import open_evaluation
from spavl.report.evaluation_tables import main_tables
from spavl.report.evaluation_verdict import verdict_lines
from spavl.store import RunDirectory

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


def test_a_judge_replaced_at_its_address_is_asked_again_under_a_new_identity(
    server: PlantedServer, harmful: Path
) -> None:
    """The new model behind the judge's name calls all unsafe; of 62 different answers none is asked again before that.

    The base complies with 24 of 40 questions, so 0.6 is what the old judge said, and 1 what the new one says.
    """
    config = recipe(server, harmful)
    assert headline(evaluated(config)).models["base"].rate.value == 0.6
    server.rule = lambda asked: (
        Told(with_mark(asked.text, "[[UNSAFE]] [[ANSWERED]]")) if asked.model == "judge" else honest(asked)
    )
    server.asked.clear()
    assert headline(evaluated(config, rejudge=True)).models["base"].rate.value == 0.6 and not server.asked
    models = {name: one.model_dump() for name, one in config.models.items()}
    models["judge"]["identity"] = "the new judge"
    named = recipe(server, harmful, models=models)
    assert headline(evaluated(named, rejudge=True)).models["base"].rate.value == 1.0
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
    (table,) = main_tables(figures)
    led, said = str(table.rows[2][-1]), verdict_lines(figures)[0]
    assert (
        led.startswith("−45.0\u00a0points (") and "40 of 40 labelled, by people’s labels; by rubric alone: −60.0" in led
    )
    assert "fewer unsafe answers on mm_safetybench (−45.0\u00a0points" in said and ", by people’s labels)" in said


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
            return Told(with_mark(asked.text, "[[A]]" if first else "[[B]]"))
        return Told(with_mark(asked.text, "[[SAFE]] [[ANSWERED]]"))

    server.rule = rule
    benchmark = {"name": "xstest", "path": str(tmp_path), "variants": ["safe"]}
    figures = evaluated(recipe(server, tmp_path / "mm", benchmarks=[benchmark]))
    (won,) = figures.wins
    assert (won.model, won.wins.value, won.wins.wins, won.wins.losses) == ("aligned", 0.75, 3, 1)
    assert won.consistency is not None and won.consistency.value == 1.0
    assert headline(figures).models["base"].outcomes == {"answered": 4}


def test_imported_scores_stand_beside_ours_and_are_read_before_anything_is_asked(
    server: PlantedServer, harmful: Path, tmp_path: Path
) -> None:
    """VLMEvalKit scored two rows of the base, one of them right; of the aligned model it gave a figure alone."""
    rows, scores = tmp_path / "base_result.tsv", tmp_path / "aligned_acc.csv"
    rows.write_text("index\tprediction\thit\n1\tA\t1\n2\tB\t0\n")
    given = {"harness": "vlmevalkit", "benchmark": "ScienceQA_TEST"}
    told = [given | {"model": "base", "rows": rows}, given | {"model": "aligned", "scores": scores}]
    with pytest.raises(UserError, match=r"imported\.1\.scores: .*aligned_acc\.csv is not a file"):
        evaluated(recipe(server, harmful, imported=told))
    assert not server.asked
    scores.write_text("split,Overall\nnone,0.75\n")
    config = recipe(server, harmful, imported=told)
    counted, reported = evaluated(config).imported
    assert counted.measure is not None and counted.measure.models["base"].rate.value == 0.5
    assert (reported.measure, reported.reported["aligned"].value) == (None, 0.75)
    with pytest.raises(ValidationError, match="there is no 'other'; choose one of base, aligned"):
        recipe(server, harmful, imported=[given | {"model": "other", "rows": rows}])


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
    there = {"kind": "openai", "base_url": "http://elsewhere.invalid/v1", "model": "Laboratory/JUDGE"}
    model = {"config": there, "fingerprint": there}
    RunDirectory(tmp_path / "training").stage("labels", {"judge": {"config": {}, "rules": "r", "model": model}})
    RunDirectory(tmp_path / "training").stage("questions", {"writer": model})
    judges = {"rubric": {"kind": "rubric", "model": "judge"}, "rules": {"kind": "rules"}}
    figures = evaluated(recipe(server, harmful, judges=judges, training=tmp_path / "training"))
    assert figures.contamination is not None
    found = figures.contamination
    assert (found.samples, found.texts, found.pictures) == ({"mm_safetybench": 2}, 2, 0)
    assert figures.contamination.clean.whole[0].models["base"].rate.value == pytest.approx(22 / 38)
    assert headline(figures).models["base"].rate.value == 0.6
    assert found.by_kind["text_exact"] == {"mm_safetybench": 2} and found.by_kind["image_near"] == {}
    assert figures.related == {"rubric": ("wrote its questions", "labelled its answers")}


# -- bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "mm_safety"}, r"benchmarks\.0\.name: there is no benchmark 'mm_safety'; choose one of .*xstest"),
        ({"variants": ["sdd"]}, r"benchmarks\.0\.variants: mm_safetybench has no variant 'sdd'; its variants are text"),
        ({"path": "./nowhere"}, r"benchmarks\.0\.path: ./nowhere is neither a folder nor like a hub id"),
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
    sheet.write_text("item,unsafe_1,unsafe_2\npair-0000,,\n")
    with pytest.raises(UserError, match=r"human_labels: no row of .*sheet\.csv is filled in"):
        evaluated(recipe(server, harmful, human_labels=sheet))
