"""Where a dataset's Parquet files lie: a local folder in the hub's layout, or the snapshot of a hub id."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from spavl.errors import UserError
from spavl.recipe_config import DataConfig

ROWS_AT_ONCE = 100
_SPLIT_FILE = re.compile(r"(?P<split>\w+?)(-\d+(-of-\d+)?(-\w+)?)?\.parquet")
"""`train.parquet`, `train-00000-of-00008.parquet`, and with a hash behind it."""


class SplitFiles(NamedTuple):
    """The files of one split."""

    folder: Path
    """The dataset's folder."""
    files: Sequence[Path]
    schema: pa.Schema
    rows: int

    def read(self, columns: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
        """Yields the rows in order, some at a time.

        Raises:
            UserError: A file is damaged.
        """
        for path in self.files:
            try:
                with pq.ParquetFile(path) as file:
                    for batch in file.iter_batches(ROWS_AT_ONCE, columns=list(columns)):
                        yield batch.to_pylist()
            except (pa.ArrowException, OSError) as error:
                raise UserError(_damaged(path, error)) from error


def find_split(config: DataConfig) -> SplitFiles:
    """Finds the files of the split that is trained on.

    Raises:
        UserError: There is no such dataset or split, or its files are damaged or unlike.
    """
    folder = _folder(config)
    splits = {path: _splits_of(path.relative_to(folder)) for path in sorted(folder.rglob("*.parquet"))}
    files = [path for path, names in splits.items() if config.split in names]
    if not files:
        known = sorted({names[0] for names in splits.values()})
        there = f"its splits are {', '.join(known)}" if known else "it holds no *.parquet"
        raise UserError(
            f"data.split: {config.path} has no split '{config.split}'; {there}. "
            f"Choose another split, or give a folder with {config.split}-*.parquet."
        )
    if len({path.parent for path in files}) > 1:
        places = ", ".join(sorted({str(path.parent.relative_to(folder)) for path in files}))
        raise UserError(f"data.path: split '{config.split}' lies in several folders ({places}). Give one as data.path.")
    schemas, rows = [], 0
    for path in files:
        try:
            with pq.ParquetFile(path) as file:
                schemas.append(file.schema_arrow)
                rows += file.metadata.num_rows
        except (pa.ArrowException, OSError) as error:
            raise UserError(_damaged(path, error)) from error
        if not schemas[-1].equals(schemas[0]):
            raise UserError(f"data.path: {path} has other columns than {files[0]}. Give files of one kind.")
    return SplitFiles(folder, files, schemas[0], rows if config.limit is None else min(rows, config.limit))


def _folder(config: DataConfig) -> Path:
    folder = Path(config.path).expanduser()
    if folder.is_dir():
        return folder
    patterns = [f"*{config.split}*.parquet", f"*{config.split}/*.parquet"]
    if config.meta_files is not None:
        patterns += [f"{config.meta_files}/{part}/*.json" for part in ("image_info", "split", "prefer")]
    try:
        snapshot = snapshot_download(
            config.path, repo_type="dataset", revision=config.revision, allow_patterns=patterns
        )
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().split("\n")[0][:200]
        raise UserError(
            f"data.path: {config.path} is neither a folder nor a dataset that the hub gives ({reason}). "
            "Give a folder in the hub's dataset layout, or a hub id and a connection."
        ) from error
    return Path(snapshot)


def split_of(path: Path) -> str:
    """Returns the split that a file's name says, as the hub reads it: `train` of `train-00000-of-00008.parquet`."""
    return _splits_of(path)[0]


def _splits_of(path: Path) -> tuple[str, ...]:
    """Returns what a file's split may be called: by its own name, or by its folder's."""
    named = _SPLIT_FILE.fullmatch(path.name)
    return (named["split"] if named else path.stem, path.parent.name)


def _damaged(path: Path, error: Exception) -> str:
    return f"data.path: {path} cannot be read ({' '.join(str(error).split())[:200]}). Get the file again."
