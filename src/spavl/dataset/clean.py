"""Writes a dataset anew without some of its rows; the dataset itself is left as it is.

What lies beside the rows is of the rows that stay: the card is counted anew, `croissant.json` has the digests, and what
is known of the pictures goes with those that are still shown.
"""

import io
from collections import Counter
from collections.abc import Iterable, Set
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from spavl.dataset.croissant import write_croissant
from spavl.dataset.describe import Tally, joined
from spavl.dataset.image_info import IMAGE_INFO, ShownPictures, copy_image_info
from spavl.dataset.licences import card_licence, front_matter
from spavl.dataset.shown import ROWS_AT_ONCE, parquet_files
from spavl.dataset.source_rows import read_source
from spavl.errors import RunError, UserError
from spavl.records import Failure
from spavl.store.files import new_folder, write_atomically

HEADING = "## Rows left out"
FOUND = "{removed} of {rows} rows were left out of these files because a contamination check found them in a benchmark."
TAKEN_DOWN = "Rows about pictures that were taken down since are not here either."
COUNTS = ("dataset_info", "size_categories")
"""What the hub keeps of a dataset's size at the top of its card; it is not true of fewer rows."""


class Cleaned(NamedTuple):
    """What was written."""

    folder: Path
    kept: int
    removed: int


def clean_place(dataset: Path) -> Path:
    """Returns where the clean form of a dataset lies: beside it."""
    return dataset.with_name(f"{dataset.name}-clean")


def check_target(dataset: Path, target: Path) -> None:
    """Checks, before anything is compared, that the clean dataset can be written.

    Raises:
        UserError: The dataset has no Parquet files, or there is something at the target already.
    """
    if not parquet_files(dataset):
        raise UserError(f"--remove: {dataset} holds no *.parquet, and only such datasets can be written anew.")
    if target.exists():
        raise UserError(f"--remove: {target} is there already. Move it away, or leave --remove out.")


def write_clean(dataset: Path, target: Path, rows: Set[str]) -> Cleaned:
    """Writes the dataset's Parquet files and what describes them to `target`, without the rows that are named.

    It is written beside its place and renamed, so a crash leaves no half of it there. Pictures that lie beside the
    Parquet files, named by `image_name`, are not copied.

    Args:
        dataset: Folder of the dataset.
        target: Folder that is not there yet.
        rows: `FILE#NUMBER`, as `Shown.id` has them.

    Raises:
        UserError: What the dataset says of its pictures is damaged.
        RunError: The disk is full, or a row that is named is not there.
    """
    stays: list[bool] = []
    with new_folder(target) as making:
        for path in parquet_files(dataset):
            name = path.relative_to(dataset)
            stay = [f"{name}#{number}" not in rows for number in range(pq.read_metadata(path).num_rows)]
            _write_some(path, making / name, stay)
            stays += stay
        kept, removed = sum(stays), len(stays) - sum(stays)
        if removed != len(rows):
            raise RunError(f"{len(rows)} rows were to be left out, {removed} were found. Please report this as a bug.")
        note = FOUND.format(removed=removed, rows=len(stays))
        _describe(dataset, making, target.name, stays, note)
    return Cleaned(target, kept, removed)


def forget_pictures(folder: Path, images: Set[str]) -> int:
    """Removes the rows about pictures from a clean dataset where it lies, and returns how many went.

    Done again after a crash, it ends what was begun.

    Args:
        folder: The clean dataset; it need not be there.
        images: Image ids.

    Raises:
        UserError: What the dataset says of its pictures is damaged.
        RunError: The disk is full.
    """
    removed = 0
    paths = parquet_files(folder)
    for path in paths:
        if "image_id" in pq.read_schema(path).names:
            shown = pq.read_table(path, columns=["image_id"])["image_id"].to_pylist()
            stay = [one not in images for one in shown]
            if not all(stay):
                _write_some(path, path, stay)
            removed += len(stay) - sum(stay)
    if paths:
        before = _card(folder).partition(f"{HEADING}\n")[2].replace(TAKEN_DOWN, "").strip()
        _describe(folder, folder, folder.name, repeat(True), joined([one for one in (before, TAKEN_DOWN) if one]))
    return removed


def _write_some(path: Path, target: Path, stay: list[bool]) -> None:
    """Writes a file's rows that stay."""
    with pq.ParquetFile(path) as file:
        parts, number = [], 0
        for batch in file.iter_batches(ROWS_AT_ONCE):
            parts.append(batch.filter(pa.array(stay[number : number + len(batch)])))
            number += len(batch)
        table = pa.Table.from_batches(parts, schema=file.schema_arrow)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, row_group_size=ROWS_AT_ONCE, compression="zstd")
    write_atomically(target, buffer.getvalue())


def _describe(dataset: Path, target: Path, name: str, stays: Iterable[bool], note: str) -> None:
    """Writes the card, what is known of the pictures, and the Croissant file of those rows that stay."""
    tally, shown, uncounted = Tally(), ShownPictures(), Counter[str]()
    try:
        for row, stay in zip(read_source(dataset, licence=card_licence(dataset)), stays, strict=False):
            if stay and isinstance(row, Failure):
                uncounted[row.reason] += 1
            elif stay and not isinstance(row, Failure):
                tally.add(row.split, row.question, row.answers, row.picture_name, row.labels)
                shown.add(row)
    except UserError:  # rows that are neither pairs nor questions about a picture can be compared, and not described
        tally, shown = Tally(), ShownPictures()
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(uncounted.items()))
    counted = [
        f"{tally.rows} rows about {len(tally.pictures)} pictures; {tally.pairs} of them are preference pairs.",
        f"Rows that are here and are not counted below: {reasons}." if reasons else "",
        "## What is in it",
        tally.tables(),
        tally.datasheet(),
    ]
    described = [one for one in counted if one] if tally.rows else []
    parts = [_front_matter(dataset), f"# {name}", *described, HEADING, note]
    write_atomically(target / "README.md", joined([part for part in parts if part]).encode())
    copy_image_info(dataset / IMAGE_INFO, target, shown)
    description = f"Rows of a dataset for safety preference alignment, without those that were left out: {name}"
    write_croissant(target, name, description, tally.licences)


def _card(folder: Path) -> str:
    card = folder / "README.md"
    return card.read_text(encoding="utf-8") if card.is_file() else ""


def _front_matter(folder: Path) -> str:
    """Returns what the hub reads of the dataset's card, without its counts; nothing where there is none."""
    kept = {key: value for key, value in front_matter(folder).items() if key not in COUNTS}
    return f"---\n{yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)}---" if kept else ""
