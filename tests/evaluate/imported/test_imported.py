"""Other harnesses' files in the layouts of VLMEvalKit e8e78f05 and lmms-eval 0.7.3, written by hand from their code."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook

from spavl.errors import UserError
from spavl.evaluate.imported import ImportedMeasure, imported_measures, read_imported
from spavl.evaluate.measures import Rules
from spavl.evaluation_config import ImportedConfig

RULES = Rules("base", 0.95, 0.02, force=False, margin=0.2)
Rows = Sequence[Mapping[str, Any]]


def choices(right: Sequence[bool]) -> Rows:
    """Rows of `..._result`, as multiple choice is scored."""
    return [
        {"index": number, "question": "Which?", "answer": "A", "prediction": "A." if hit else "B.", "hit": int(hit)}
        for number, hit in enumerate(right)
    ]


def xlsx(path: Path, rows: Rows) -> Path:
    book = Workbook()
    book.active.append(list(rows[0]))
    for row in rows:
        book.active.append(list(row.values()))
    book.save(path)
    return path


def tsv(path: Path, rows: Rows) -> Path:
    lines = [list(rows[0]), *(row.values() for row in rows)]
    path.write_text("".join("\t".join(f'"{cell}"' for cell in line) + "\n" for line in lines))
    return path


def as_json(path: Path, rows: Rows) -> Path:
    path.write_text(json.dumps(rows))
    return path


def as_columns(path: Path, rows: Rows) -> Path:
    path.write_text(json.dumps({name: [row[name] for row in rows] for name in rows[0]}))
    return path


def sample(number: int, score: object, reply: str = "yes") -> dict[str, Any]:
    """A line of lmms-eval's samples, as POPE's task makes them."""
    return {
        "doc_id": number,
        "target": "yes",
        "filtered_resps": reply,
        "token_counts": [None],
        "doc_hash": f"{number:064x}",
        "input": "Is there a placeholder?",
        "pope_accuracy": {"question_id": number, "score": score, "prediction": reply, "ground_truth": "yes"},
    }


def lines(path: Path, rows: Rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def imported(*configs: Mapping[str, Any]) -> ImportedMeasure:
    """Reads what is given, of which there is one benchmark."""
    told = [ImportedConfig.model_validate(one) for one in configs]
    (found,) = imported_measures([read_imported(f"imported.{n}", one) for n, one in enumerate(told)], RULES)
    assert ImportedMeasure.model_validate_json(found.model_dump_json()) == found
    return found


def vlmevalkit(model: str, **files: object) -> dict[str, Any]:
    return {"harness": "vlmevalkit", "benchmark": "MMBench_DEV_EN", "model": model, **files}


def lmms_eval(model: str, **files: object) -> dict[str, Any]:
    return {"harness": "lmms_eval", "benchmark": "pope", "model": model, **files}


@pytest.mark.parametrize(("write", "suffix"), [(xlsx, "xlsx"), (tsv, "tsv"), (as_json, "json"), (as_columns, "json")])
def test_rows_in_any_form_become_a_paired_change_with_interval_and_margin(
    tmp_path: Path, write: Any, suffix: str
) -> None:
    """8 of 10 right before; of these one is lost and one other gained: 8 of 10 after, change 0, p 1."""
    before = write(tmp_path / f"base_result.{suffix}", choices([True] * 8 + [False] * 2))
    after = write(tmp_path / f"aligned_result.{suffix}", choices([True] * 7 + [False, True, False]))
    found = imported(vlmevalkit("base", rows=before), vlmevalkit("aligned", rows=after))
    assert (found.harness, found.benchmark, found.metric) == ("vlmevalkit", "MMBench_DEV_EN", "hit")
    assert found.files["base"][0].name == before.name and len(found.files["base"][0].sha256) == 64
    assert found.measure is not None
    base, against = found.measure.models["base"], found.measure.changes["aligned"]
    assert (base.rate.value, base.rate.n, base.flags) == (0.8, 10, ())
    assert base.rate.low is not None and round(base.rate.low, 2) == 0.49  # Wilson, 8 of 10
    assert against.change is not None and not against.withheld
    assert (against.change.value, against.change.before_only, against.change.after_only) == (0.0, 1, 1)
    assert against.change.p_value == 1.0 and against.not_inferior == "not shown"


def test_what_vlmevalkit_counts_as_wrong_or_draws_is_missing_here(tmp_path: Path) -> None:
    """Of five, one request failed and one choice was drawn by lot: 2 of 3, where its own figure says 3 of 5."""
    rows = [dict(row, log="Match Log: A.") for row in choices([True, True, False, False, True])]
    rows[3] |= {"prediction": "Failed to obtain answer via API."}
    rows[4] |= {"log": "Match Log: Failed to predict, thus randomly generate one. . "}
    scores = tmp_path / "base_acc.csv"
    scores.write_text('"split","Overall","coarse"\n"none","0.6","0.5"\n')
    found = imported(vlmevalkit("base", rows=xlsx(tmp_path / "base_result.xlsx", rows), scores=scores))
    assert found.measure is not None
    figure = found.measure.models["base"]
    assert figure.outcomes == {"answer_failed": 1, "right": 2, "unscored": 1, "wrong": 1}
    assert (figure.rate.value, figure.rate.lowest, figure.rate.highest) == (pytest.approx(2 / 3), 0.4, 0.8)
    assert figure.flags == ("incomplete",) and found.reported["base"] == (0.6, "Overall", None)


def test_a_row_whose_judge_failed_is_counted_and_ends_no_import(tmp_path: Path) -> None:
    """Of three, one is right, one wrong, and of one the judge said nothing: 1 of 2, and 1/3 or 2/3 at most."""
    rows = choices([True, False, True])
    rows[2]["hit"] = "Failed"
    found = imported(vlmevalkit("base", rows=xlsx(tmp_path / "base_result.xlsx", rows)))
    assert found.measure is not None
    figure = found.measure.models["base"]
    assert figure.outcomes == {"judge_failed": 1, "right": 1, "wrong": 1} and figure.flags == ("incomplete",)
    assert (figure.rate.value, figure.rate.lowest, figure.rate.highest) == pytest.approx((0.5, 1 / 3, 2 / 3))


def test_an_answer_that_says_neither_yes_nor_no_is_unscored(tmp_path: Path) -> None:
    rows = [
        {"index": 1, "answer": "Yes", "prediction": "Yes", "extracted": "Yes", "score": True},
        {"index": 2, "answer": "No", "prediction": "A dog.", "extracted": "Unknown", "score": False},
    ]
    found = imported(vlmevalkit("base", rows=tsv(tmp_path / "base_auxmatch.tsv", rows)))
    assert found.measure is not None and found.measure.models["base"].outcomes == {"right": 1, "unscored": 1}


def test_rows_about_one_picture_are_one_cluster(tmp_path: Path) -> None:
    """Four rows of two pictures, all right about one and all wrong about the other: resampled, 0 to 1."""
    rows = [dict(row, image_path=f"{n // 2}.jpg") for n, row in enumerate(choices([True, True, False, False]))]
    found = imported(vlmevalkit("base", rows=xlsx(tmp_path / "base_result.xlsx", rows)))
    assert found.measure is not None
    rate = found.measure.models["base"].rate
    assert (rate.value, rate.low, rate.high) == (0.5, 0.0, 1.0)


def test_samples_and_figures_of_lmms_eval_stand_side_by_side(tmp_path: Path) -> None:
    """2 of 3 are right; a fourth request failed, which lmms-eval scores as wrong: it reports 0.5."""
    rows = [sample(0, 1.0), sample(1, 1.0), sample(2, 0.0, "no")]
    rows.append(sample(3, 0.0, "[LMMS_EVAL_REQUEST_FAILED after 3 retries] placeholder"))
    figures: dict[str, Any] = {"alias": "pope", "pope_accuracy,none": 0.5, "pope_f1_score,none": 0.6}
    figures["pope_accuracy_stderr,none"] = "N/A"
    results = {"results": {"pope": figures}, "n-samples": {"pope": {"original": 9000, "effective": 4}}}
    scores = tmp_path / "20260101_000000_results.json"
    scores.write_text(json.dumps(results))
    samples = lines(tmp_path / "20260101_000000_samples_pope.jsonl", rows)
    found = imported(lmms_eval("base", rows=samples, scores=scores))
    assert found.measure is not None
    figure = found.measure.models["base"]
    assert figure.outcomes == {"answer_failed": 1, "right": 2, "wrong": 1}
    assert figure.rate.value == pytest.approx(2 / 3)
    assert found.reported["base"] == (0.5, "pope_accuracy", 4)
    named = imported(lmms_eval("base", scores=scores, figure="pope_f1_score"))
    assert named.measure is None and named.metric == "pope_f1_score" and named.reported["base"].value == 0.6


def test_samples_about_one_picture_are_one_cluster(tmp_path: Path) -> None:
    """lmms-eval names the pictures of each line: two, one of them always right and the other never."""
    rows = [dict(sample(n, float(n < 2)), input_media=[f"{n // 2}.jpg"]) for n in range(4)]
    found = imported(lmms_eval("base", rows=lines(tmp_path / "s.jsonl", rows)))
    assert found.measure is not None
    rate = found.measure.models["base"].rate
    assert (rate.value, rate.low, rate.high) == (0.5, 0.0, 1.0)


def test_rows_that_only_one_model_has_are_missing_for_the_other(tmp_path: Path) -> None:
    """50 rows, of which the aligned model's file lacks two: 4 % are unpaired, more than 2 %, so no change is given."""
    before = lines(tmp_path / "base.jsonl", [sample(n, 1.0) for n in range(50)])
    after = lines(tmp_path / "aligned.jsonl", [sample(n, 1.0) for n in range(48)])
    found = imported(lmms_eval("base", rows=before), lmms_eval("aligned", rows=after))
    assert found.measure is not None
    against = found.measure.changes["aligned"]
    assert against.unpaired == 2 and against.withheld and {"incomplete", "unpaired"} <= {*against.flags}


def bad_table(tmp_path: Path, rows: Rows) -> dict[str, Any]:
    return vlmevalkit("base", rows=xlsx(tmp_path / "base.xlsx", rows))


def bad_samples(tmp_path: Path, rows: Rows) -> dict[str, Any]:
    return lmms_eval("base", rows=lines(tmp_path / "s.jsonl", rows))


def bad_results(tmp_path: Path, results: Mapping[str, Any]) -> dict[str, Any]:
    (tmp_path / "r.json").write_text(json.dumps({"results": results}))
    return lmms_eval("base", scores=tmp_path / "r.json")


def no_zip(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "base.xlsx").write_text("placeholder")
    return vlmevalkit("base", rows=tmp_path / "base.xlsx")


GOOD = choices([True, False])
SPLITS = [{"split": "dev", "Overall": 0.5}, {"split": "test", "Overall": 0.5}]
BROKEN = {
    "nowhere": lambda folder: vlmevalkit("base", rows=folder / "nowhere.xlsx"),
    "pickle": lambda folder: vlmevalkit("base", rows=as_json(folder / "base_result.pkl", GOOD)),
    "not scored": lambda folder: bad_table(
        folder, [{key: value for key, value in row.items() if key != "hit"} for row in GOOD]
    ),
    "twice": lambda folder: bad_table(folder, [*GOOD, GOOD[0]]),
    "out of range": lambda folder: bad_table(folder, [dict(GOOD[0], hit=71.2)]),
    "no zip": no_zip,
    "splits": lambda folder: vlmevalkit("base", scores=tsv(folder / "base_acc.tsv", SPLITS)),
    "other task": lambda folder: bad_results(folder, {"mmmu_val": {}}),
    "several figures": lambda folder: bad_results(folder, {"pope": {"a,none": 0.1, "b,none": 0.2}}),
    "cut line": lambda folder: bad_samples(folder, [sample(0, 1.0), {"doc_id": 1}]),
    "no score": lambda folder: bad_samples(folder, [dict(sample(0, 1.0), pope_accuracy={"pred": "A"})]),
    "empty": lambda folder: bad_samples(folder, []),
}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere", r"imported\.0\.rows: .*nowhere\.xlsx is not a file"),
        ("pickle", r"base_result\.pkl is none of \.xlsx, \.tsv, \.csv, \.json"),
        ("not scored", r"has the columns index, question, answer, prediction; index, prediction and hit or score or"),
        ("twice", r"row 0 stands there twice"),
        ("out of range", r"row 2, `hit`: '71\.2' is no score from 0 to 1"),
        ("no zip", r"base\.xlsx cannot be read \(File is not a zip file\)"),
        ("splits", r"has 2 lines to take; its splits are dev, test\. Name one as `split`"),
        ("other task", r"no figures of the task pope; its tasks are mmmu_val"),
        ("several figures", r"its figures are a,none, b,none\. Name one as `figure`"),
        ("cut line", r"s\.jsonl, line 2 has no target, filtered_resps, doc_hash, pope_accuracy"),
        ("no score", r"line 1, `pope_accuracy`: .* is no score from 0 to 1"),
        ("empty", r"its lines lack doc_id, target, filtered_resps, doc_hash"),
    ],
)
def test_a_file_that_is_not_as_documented_is_one_clear_error(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        imported(BROKEN[name](tmp_path))
    assert "\n" not in str(caught.value)
