"""Writes a dataset anew without some of its rows; the dataset itself is left as it is."""

import io
from collections.abc import Set
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from spavl.dataset.shown import ROWS_AT_ONCE, parquet_files
from spavl.errors import RunError, UserError
from spavl.store.files import new_folder, write_atomically

NOTE = """
## Rows left out

{removed} of {rows} rows were left out of these files because a contamination check found them in a benchmark. Counts
that stand above are those from before.
"""


class Cleaned(NamedTuple):
    """What was written."""

    folder: Path
    kept: int
    removed: int


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
    """Writes the dataset's Parquet files and its card to `target`, without the rows that are named.

    It is written beside its place and renamed, so a crash leaves no half of it there. Pictures that lie beside the
    Parquet files, named by `image_name`, are not copied.

    Args:
        dataset: Folder of the dataset.
        target: Folder that is not there yet.
        rows: `FILE#NUMBER`, as `Shown.id` has them.

    Raises:
        RunError: The disk is full, or a row that is named is not there.
    """
    kept = removed = 0
    with new_folder(target) as making:
        for path in parquet_files(dataset):
            name = path.relative_to(dataset)
            before, table = _without(path, str(name), rows)
            kept, removed = kept + len(table), removed + before - len(table)
            buffer = io.BytesIO()
            pq.write_table(table, buffer, row_group_size=ROWS_AT_ONCE, compression="zstd")
            write_atomically(making / name, buffer.getvalue())
        if removed != len(rows):
            raise RunError(f"{len(rows)} rows were to be left out, {removed} were found. Please report this as a bug.")
        card = dataset / "README.md"
        text = card.read_text(encoding="utf-8") if card.is_file() else f"# {target.name}\n"
        write_atomically(making / "README.md", (text + NOTE.format(removed=removed, rows=kept + removed)).encode())
    return Cleaned(target, kept, removed)


def _without(path: Path, name: str, rows: Set[str]) -> tuple[int, pa.Table]:
    """Returns the number of rows of a file, and the table of those that stay."""
    with pq.ParquetFile(path) as file:
        parts, number = [], 0
        for batch in file.iter_batches(ROWS_AT_ONCE):
            stays = [f"{name}#{number + place}" not in rows for place in range(len(batch))]
            parts.append(batch.filter(pa.array(stays)))
            number += len(batch)
        return number, pa.Table.from_batches(parts, schema=file.schema_arrow)
