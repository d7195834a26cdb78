"""lmms-eval's files (layout read at 0.7.3): `TIME_samples_TASK.jsonl` and `TIME_results.json`.

A sample's line has `doc_id`, `doc_hash`, `filtered_resps` and, under the name of each metric, its score: a number, or
an object with the number under `score`; `input_media` names its pictures, where they have names. Metrics whose lines
hold something else are a matter of the whole set, and can be imported by their figure alone. lmms-eval writes the error
of a request that failed in place of its answer, and scores it as one; it is missing here.
"""

from pathlib import Path
from typing import Any

from spavl.errors import UserError
from spavl.evaluate.benchmarks.files import read_json, read_json_lines
from spavl.evaluate.imported.scores import (
    ImportedRow,
    ImportedScores,
    Reported,
    file_at,
    once,
    read_figure,
    read_score,
)
from spavl.evaluation_config import ImportedConfig

FIELDS = ("doc_id", "target", "filtered_resps", "doc_hash")
OTHERS = frozenset({*FIELDS, "resps", "input", "input_media", "token_counts"})
"""Fields of a sample that are no metric."""
NO_ANSWER = ("[LMMS_EVAL_REQUEST_FAILED", "[LMMS_EVAL_BUDGET_EXCEEDED")


def read_lmms_eval(field: str, config: ImportedConfig) -> ImportedScores:
    """Reads scored samples, a figure, or both.

    Raises:
        UserError: A file is missing, damaged, or not as lmms-eval writes it.
    """
    files, rows, metric, reported = [], None, "", None
    if config.rows is not None:
        files.append(file_at(f"{field}.rows", config.rows))
        lines = list(read_json_lines(config.rows))
        metric = _metric(f"{field}.rows: {config.rows.name}", [line for _, line in lines], config.metric)
        rows = once(str(config.rows), [_row(config.rows, number, line, metric) for number, line in lines])
    if config.scores is not None:
        files.append(file_at(f"{field}.scores", config.scores))
        where = f"{field}.scores: {config.scores.name}"
        reported = _reported(where, config.scores, config.benchmark, config.figure or metric)
    return ImportedScores(config, metric or (reported.metric if reported else ""), rows, reported, tuple(files))


def _metric(where: str, lines: list[dict[str, Any]], metric: str | None) -> str:
    first = lines[0] if lines else {}
    lacking = [name for name in FIELDS if name not in first]
    found = [name for name in first if name not in OTHERS and (metric is None or name == metric)]
    if lacking or len(found) != 1:
        metrics = ", ".join(name for name in first if name not in OTHERS) or "none"
        why = f"its lines lack {', '.join(lacking)}" if lacking else f"its metrics are {metrics}"
        raise UserError(
            f"{where}: {why}. Give a file of `lmms-eval --log_samples`, and name one of its metrics as `metric`."
        )
    return found[0]


def _row(path: Path, number: int, line: dict[str, Any], metric: str) -> ImportedRow:
    where = f"{path}, line {number}"
    lacking = [name for name in (*FIELDS, metric) if name not in line]
    if lacking:
        raise UserError(f"{where} has no {', '.join(lacking)}. Get the file again.")
    name = f"{line['doc_id']}/{line['doc_hash'][:12]}"
    unit = str(line.get("input_media") or "")
    if str(_first(line["filtered_resps"])).startswith(NO_ANSWER):
        return ImportedRow(name, None, "answer_failed", unit)
    held = line[metric]
    score = read_score(f"{where}, `{metric}`", held.get("score", held) if isinstance(held, dict) else held)
    if score is None:
        return ImportedRow(name, None, "unscored", unit)
    return ImportedRow(name, score, "right" if score >= 0.5 else "wrong", unit)


def _first(replies: object) -> object:
    return _first(replies[0]) if isinstance(replies, list) and replies else replies


def _reported(where: str, path: Path, task: str, figure: str | None) -> Reported:
    """Returns a figure, whose key is `METRIC,FILTER`."""
    held = read_json(path)
    results = held.get("results") if isinstance(held, dict) else None
    if not isinstance(results, dict):
        raise UserError(f"{where} has no `results`. Give the file that lmms-eval wrote.")
    if not isinstance(results.get(task), dict):
        there = ", ".join(results)
        raise UserError(f"{where} has no figures of the task {task}; its tasks are {there}. Name one of them.")
    keys = [key for key in results[task] if "," in key and "_stderr" not in key]
    found = [key for key in keys if not figure or figure in (key, key.split(",")[0])]
    if len(found) != 1:
        raise UserError(f"{where}: its figures are {', '.join(keys) or 'none'}. Name one as `figure`.")
    value = read_figure(f"{where}, `{found[0]}`", results[task][found[0]])
    return Reported(value, found[0].split(",")[0], _rows_behind(held.get("n-samples"), task))


def _rows_behind(counts: object, task: str) -> int | None:
    count = counts.get(task) if isinstance(counts, dict) else None
    n = count.get("effective") if isinstance(count, dict) else None
    return n if isinstance(n, int) else None
