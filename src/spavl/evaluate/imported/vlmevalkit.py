"""VLMEvalKit's files (layout read at e8e78f05, 2026-08-18): scored rows, and the figures made of them.

Scored rows are the prediction table with a score in a further column: `hit` of multiple choice (`..._result`), `score`
of yes or no (`..._auxmatch`), `eval_score` of VQA (`..._results`). Figures are `..._acc` and `..._score`: a line a
split. VLMEvalKit counts as wrong what its model did not answer, takes an answer that says neither yes nor no for wrong,
and draws a choice at random where none can be read; all three are missing here.
"""

from collections.abc import Sequence
from pathlib import Path

from spavl.errors import UserError
from spavl.evaluate.imported.scores import (
    ImportedRow,
    ImportedScores,
    Reported,
    file_at,
    once,
    read_figure,
    read_score,
)
from spavl.evaluate.imported.tables import Row, read_table
from spavl.evaluation_config import ImportedConfig

SCORES = ("hit", "score", "eval_score")
NO_ANSWER = "Failed to obtain answer"
"""What VLMEvalKit writes in place of an answer that it did not get."""
JUDGE_FAILED = "failed"
"""What stands in place of a score, in any capitals, where its judge gave none."""
DRAWN = "randomly generate"
"""What its log says of a choice that it drew."""


def read_vlmevalkit(field: str, config: ImportedConfig) -> ImportedScores:
    """Reads scored rows, a figure, or both.

    Raises:
        UserError: A file is missing, damaged, or not as VLMEvalKit writes it.
    """
    files, rows, metric, reported = [], None, "", None
    if config.rows is not None:
        files.append(file_at(f"{field}.rows", config.rows))
        table = read_table(f"{field}.rows", config.rows)
        metric = _score_column(f"{field}.rows: {config.rows.name}", table, config.metric)
        rows = once(str(config.rows), [_row(config.rows, place, one, metric) for place, one in enumerate(table, 2)])
    if config.scores is not None:
        files.append(file_at(f"{field}.scores", config.scores))
        reported = _reported(f"{field}.scores: {config.scores.name}", config.scores, config)
    return ImportedScores(config, metric or (reported.metric if reported else ""), rows, reported, tuple(files))


def _score_column(where: str, table: Sequence[Row], metric: str | None) -> str:
    columns = list(table[0]) if table else []
    lacking = [name for name in ("index", "prediction") if name not in columns]
    found = [name for name in ([metric] if metric else SCORES) if name in columns]
    if lacking or len(found) != 1:
        wanted = metric or " or ".join(SCORES)
        raise UserError(
            f"{where} has the columns {', '.join(columns) or 'of no table'}; index, prediction and {wanted} are read. "
            "Give the table that VLMEvalKit writes after scoring, or name its score as `metric`."
        )
    return found[0]


def _row(path: Path, place: int, row: Row, metric: str) -> ImportedRow:
    where = f"{path}, row {place}"
    name = str(row["index"] if row["index"] is not None else "")
    if not name:
        raise UserError(f"{where} has no `index`. Get the file again.")
    unit = str(row.get("image_path") or "")
    if str(row[metric]).strip().lower() == JUDGE_FAILED:
        return ImportedRow(name, None, "judge_failed", unit)
    score = read_score(f"{where}, `{metric}`", row[metric])
    if NO_ANSWER in str(row["prediction"]):
        return ImportedRow(name, None, "answer_failed", unit)
    if score is None or row.get("extracted") == "Unknown" or DRAWN in str(row.get("log") or ""):
        return ImportedRow(name, None, "unscored", unit)
    return ImportedRow(name, score, "right" if score >= 0.5 else "wrong", unit)


def _reported(where: str, path: Path, config: ImportedConfig) -> Reported:
    table = read_table(where, path)
    lines = [one for one in table if config.split is None or str(one.get("split")) == config.split]
    if len(lines) != 1:
        splits = ", ".join(str(one.get("split")) for one in table) or "none"
        raise UserError(f"{where} has {len(lines)} lines to take; its splits are {splits}. Name one as `split`.")
    column = config.figure or "Overall"
    if column not in lines[0]:
        raise UserError(f"{where} has no `{column}`; it has {', '.join(lines[0])}. Name one as `figure`.")
    return Reported(read_figure(f"{where}, `{column}`", lines[0][column]), column, None)
