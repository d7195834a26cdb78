"""Exports a finished dataset to the format that another trainer reads, with a card and Croissant metadata.

Rows that have no place in a format are counted, never changed to fit.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, get_args

import yaml

from spavl.dataset.croissant import write_croissant
from spavl.dataset.describe import Tally, joined
from spavl.dataset.image_info import IMAGE_INFO, ShownPictures, copy_image_info
from spavl.dataset.json_formats import JsonExport
from spavl.dataset.licences import card_licence, front_matter
from spavl.dataset.meta_files import meta_paths, read_meta
from spavl.dataset.parquet_formats import ParquetExport
from spavl.dataset.source_rows import SourceRow, read_source, readable
from spavl.errors import UserError
from spavl.records import Failure
from spavl.store.files import new_folder, write_atomically

ExportFormat = Literal["trl", "spa_vl", "llamafactory", "swift"]
FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)
USE = {
    "trl": '`datasets.load_dataset("FOLDER")` gives the columns that TRL\'s `DPOTrainer` takes.',
    "spa_vl": '`datasets.load_dataset("FOLDER")` gives the columns of SPA-VL\'s release; `spavl train` reads it too.',
    "llamafactory": "LLaMA-Factory: `stage: dpo`, `dataset_dir: FOLDER`, `dataset: spavl_train`.",
    "swift": "ms-swift: `swift rlhf --rlhf_type dpo --dataset FOLDER/train.jsonl`. Pictures are named by absolute "
    "paths: export again where the folder moves.",
}
CONFIGURATIONS = {
    "trl": {"default": ["data/train", "data/validation"], "test": ["data/harm", "data/help"]},
    "spa_vl": {
        "default": ["data/train"],
        "validation": ["validation/validation"],
        "test": ["test/harm", "test/help"],
    },
}
"""Format -> the hub's configurations, and where their splits lie."""


LICENCE_KEYS = ("license", "license_name", "license_link")
"""What the hub's cards say of a licence; an export says it as the dataset does."""


class Exporter(Protocol):
    """What writes a format."""

    def add(self, row: SourceRow) -> bool:
        """Takes a row, and says whether it has a place in the format."""

    def close(self) -> None:
        """Writes what waits."""


class Exported(NamedTuple):
    """What was written."""

    folder: Path
    rows: dict[str, int]
    """Split -> rows."""
    left_out: dict[str, int]
    """Reason -> rows that are not there."""


def export_dataset(
    dataset: Path, form: str, out: Path, meta_files: Path | None = None, licence: str | None = None
) -> Exported:
    """Writes a dataset in another format; it is made beside its place and renamed, so a crash leaves no half of it.

    Args:
        dataset: Folder with Parquet files.
        form: One of `FORMATS`.
        out: Folder that is not there yet.
        meta_files: The folder of the meta files of SPA-VL's release, joined to rows that lack classes and types.
        licence: Licence of rows that name none; None for the one that the dataset's card names.

    Raises:
        UserError: The format is unknown, the folder is there already, or the dataset or the meta files cannot be read,
            or it has no row for this format.
        RunError: The disk is full.
    """
    if form not in FORMATS:
        raise UserError(f"--format {form}: allowed are {', '.join(FORMATS)}.")
    if out.exists():
        raise UserError(f"--out {out} is there already. Give a folder that is not, or move it away.")
    meta = read_meta(meta_paths(meta_files, dataset, "--meta-files"))
    with new_folder(out) as making:
        exporter = _exporter(form, making, out.resolve())
        tally, shown, rows, left_out = Tally(), ShownPictures(), Counter[str](), Counter[str]()
        for row in readable(read_source(dataset, meta, licence or card_licence(dataset))):
            if isinstance(row, Failure):
                left_out[row.reason] += 1
            elif not exporter.add(row):
                left_out["no_answers" if row.answers is None else "image_token"] += 1
            else:
                rows[row.split] += 1
                tally.add(row.split, row.question, row.answers, row.picture_name, row.labels)
                shown.add(row)
        exporter.close()
        if not rows:
            counted = _counted(left_out)
            raise UserError(f"{dataset}: no row has a place in format {form} ({counted}). Choose another format.")
        if form in CONFIGURATIONS:
            copy_image_info(meta.files[0] if meta.files else dataset / IMAGE_INFO, making, shown)
        said = {} if licence else front_matter(dataset)
        card = _card(form, out.name, tally, rows, left_out)
        write_atomically(making / "README.md", f"{_front_matter(form, rows, said)}{card}".encode())
        description = (
            f"{tally.rows} rows about {len(tally.pictures)} pictures for safety preference alignment, format {form}"
        )
        write_croissant(making, out.name, description, tally.licences)
    return Exported(out, dict(rows), dict(left_out))


def _exporter(form: str, folder: Path, final: Path) -> Exporter:
    if form in ("trl", "spa_vl"):
        return ParquetExport(folder, release=form == "spa_vl")
    return JsonExport(folder, final, lines=form == "swift")


def _card(form: str, name: str, tally: Tally, rows: Counter[str], left_out: Counter[str]) -> str:
    parts = [
        f"# {name}",
        f"{tally.rows} rows about {len(tally.pictures)} pictures; {tally.pairs} of them are preference pairs.",
        USE[form],
        f"Rows of the dataset that are not here: {_counted(left_out)}." if left_out else "",
        "## What is in it",
        tally.tables(),
        tally.datasheet(),
    ]
    return joined([part for part in parts if part])


def _front_matter(form: str, rows: Counter[str], said: Mapping[str, Any]) -> str:
    """Returns what the hub reads of a card; nothing for formats that it does not open by columns.

    Args:
        form: The format.
        rows: Rows of each split.
        said: What it reads of the dataset's own card.
    """
    if form not in CONFIGURATIONS:
        return ""
    lines = ["---", "configs:"]
    for config, places in CONFIGURATIONS[form].items():
        there = [place for place in places if rows[place.rsplit("/")[-1]]]
        lines += [f"- config_name: {config}", "  data_files:"] if there else []
        for place in there:
            lines += [f"  - split: {place.rsplit('/')[-1]}", f"    path: {place}-*.parquet"]
    lines += ["task_categories:", "- image-text-to-text", "tags:", "- preference", "- safety"]
    if kept := {key: said[key] for key in LICENCE_KEYS if key in said}:
        lines += yaml.safe_dump(kept, sort_keys=False, allow_unicode=True).splitlines()
    return "\n".join([*lines, "---\n\n"])


def _counted(reasons: Counter[str]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items())) or "none"
