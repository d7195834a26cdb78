"""A sheet of answers for people to judge, blind to which model gave which, and what they wrote into it.

Samples are drawn uniformly by whole units of sampling, as prediction-powered inference needs them. Which of two answers
stands first follows from the seed and is not in the sheet.
"""

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from spavl.errors import UserError
from spavl.evaluate.judge_trust import LabelledPairs
from spavl.records import Answer, Sample, content_id
from spavl.store.files import write_atomically

COLUMNS = ("item", "benchmark", "question", "picture", "answer_1", "answer_2", "unsafe_1", "unsafe_2")
SAID = {"yes": True, "y": True, "1": True, "true": True, "no": False, "n": False, "0": False, "false": False}
_FORMULA = ("=", "+", "-", "@", "\t")


class Compared(NamedTuple):
    """A sample with the baseline's answer and another model's."""

    sample: Sample
    model: str
    before: Answer
    after: Answer

    @property
    def item(self) -> str:
        """Names the two answers themselves, so that labels of other answers are never taken for theirs."""
        return content_id("pair", self.before.id, self.after.id, self.model)

    def swapped(self, seed: int) -> bool:
        """Whether the model's answer stands before the baseline's."""
        return hashlib.sha256(f"{seed}/{self.item}".encode()).digest()[0] % 2 == 1


def compared(samples: Sequence[Sample], answers: Sequence[Answer], models: Sequence[str]) -> list[Compared]:
    """Returns every harmful sample that the baseline, the first of the models, and another have answered."""
    by_key = {(one.sample_id, one.model): one for one in answers}
    return [
        Compared(sample, model, by_key[sample.id, models[0]], by_key[sample.id, model])
        for model in models[1:]
        for sample in samples
        if sample.expect == "refuse" and (sample.id, models[0]) in by_key and (sample.id, model) in by_key
    ]


def draw_for_people(pairs: Sequence[Compared], number: int, seed: int) -> list[Compared]:
    """Draws that many samples, or a few more, of each benchmark and model: whole units in a seeded order."""

    def place(pair: Compared) -> str:
        return hashlib.sha256(f"{seed}/people/{pair.sample.unit}".encode()).hexdigest()

    groups: dict[tuple[str, str], dict[str, list[Compared]]] = {}
    for pair in sorted(pairs, key=place):
        groups.setdefault((pair.model, pair.sample.benchmark), {}).setdefault(pair.sample.unit, []).append(pair)
    drawn: list[Compared] = []
    for units in groups.values():
        taken: list[Compared] = []
        for unit in units.values():
            if len(taken) < number:
                taken += unit
        drawn += taken
    return sorted(drawn, key=lambda pair: hashlib.sha256(f"{seed}/{pair.item}".encode()).hexdigest())


def write_sheet(drawn: Sequence[Compared], picture: Mapping[str, str], seed: int, path: Path) -> None:
    """Writes the sheet; `unsafe_1` and `unsafe_2` are for people to fill in, with yes or no.

    Args:
        drawn: The pairs of answers.
        picture: Image id -> file, as the sheet names it.
        seed: Decides which answer stands first.
        path: The sheet; an older one is replaced.

    Raises:
        RunError: The disk is full or the folder may not be written.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for pair in drawn:
        answers = (pair.after.text, pair.before.text) if pair.swapped(seed) else (pair.before.text, pair.after.text)
        sample = pair.sample
        cells = (pair.item, sample.benchmark, sample.prompt, picture.get(sample.image_id, ""), *answers, "", "")
        writer.writerow(f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in cells)
    write_atomically(path, text.getvalue().encode())


def read_sheet(path: Path, pairs: Sequence[Compared], seed: int) -> LabelledPairs:
    """Returns what people said of all that was drawn: what they happened to fill in first is no random sample.

    Raises:
        UserError: The file cannot be read, is no such sheet, is not filled in to the end, lacks rows that were drawn,
            has one twice or is about other answers, or a label is neither yes nor no.
    """
    by_item = {pair.item: pair for pair in pairs}
    lines: dict[str, int] = {}
    labels: dict[tuple[str, str], tuple[bool, bool]] = {}
    labelled: list[Compared] = []
    empty: list[int] = []
    for line, row in _rows(path):
        said = _said(path, line, row)
        if said is None:
            empty.append(line)
            continue
        pair = by_item.get(row["item"] or "")
        if pair is None:
            raise UserError(
                f"human_labels: {path}, row {line}: these answers are not of this run. Label them anew: "
                "`--sample-for-people N` writes the sheet."
            )
        before = lines.setdefault(pair.item, line)
        if before != line:
            raise UserError(
                f"human_labels: {path}, row {line}: these answers are those of row {before}. One row has one label: "
                "keep one of the two, the one that you trust."
            )
        labels[pair.sample.id, pair.model] = (said[1], said[0]) if pair.swapped(seed) else said
        labelled.append(pair)
    if not labels:
        raise UserError(f"human_labels: no row of {path} is filled in. Write yes or no into `unsafe_1` and `unsafe_2`.")
    if empty:
        raise UserError(
            f"human_labels: {path}: {len(empty)} of {len(empty) + len(labelled)} drawn rows are empty, the first is "
            f"row {empty[0]}. What is filled in alone is no random sample: fill in the others too, or draw fewer anew "
            "with `--sample-for-people N`."
        )
    if not _is_drawn(labelled, pairs, seed):
        raise UserError(
            f"human_labels: {path} has {len(labelled)} rows, which are not all that was drawn. What is left of a "
            "sample is no random one: put the removed rows back, or draw anew with `--sample-for-people N`."
        )
    return labels


def _said(path: Path, line: int, row: Mapping[str, str | None]) -> tuple[bool, bool] | None:
    """Returns whether each of a row's answers is unsafe; None where neither has a label."""
    cells = [(row[name] or "").strip().lower() for name in ("unsafe_1", "unsafe_2")]
    if not any(cells):
        return None
    wrong = next((one for one in cells if one not in SAID), None)
    if wrong is not None:
        raise UserError(f"human_labels: {path}, row {line}: '{wrong}' is neither yes nor no. Fill in both answers.")
    return SAID[cells[0]], SAID[cells[1]]


def _is_drawn(labelled: Sequence[Compared], pairs: Sequence[Compared], seed: int) -> bool:
    """Whether some number draws just these; of benchmarks and models without a label nothing is said.

    The fewest of a benchmark and model that were not taken whole are drawn again by their own number, and so are all.
    """
    labels = Counter((pair.model, pair.sample.benchmark) for pair in labelled)
    there = [pair for pair in pairs if (pair.model, pair.sample.benchmark) in labels]
    whole = Counter((pair.model, pair.sample.benchmark) for pair in there)
    number = min((count for group, count in labels.items() if count < whole[group]), default=len(there))
    drawn = draw_for_people(there, number, seed)
    return {pair.item for pair in drawn} == {pair.item for pair in labelled}


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str | None]]]:
    try:
        reader = csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline=""), strict=True)
        lacking = [name for name in ("item", "unsafe_1", "unsafe_2") if name not in (reader.fieldnames or ())]
        if lacking:
            raise UserError(f"human_labels: {path} has no column {', '.join(lacking)}. Keep the sheet's heading.")
        yield from enumerate(reader, 2)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"human_labels: {path} cannot be read ({error}). Save it as CSV in UTF-8.") from error
