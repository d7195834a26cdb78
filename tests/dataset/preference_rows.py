"""Small preference datasets on the disk, in TRL's columns and in those of SPA-VL's release."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

COLOURS = ("crimson", "gold", "navy")


def png(number: int, side: int = 40) -> bytes:
    """Returns a picture's bytes; other numbers are other pictures."""
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), COLOURS[number % 3]).save(buffer, "PNG")
    return buffer.getvalue()


def trl_row(number: int = 0, **changes: Any) -> dict[str, Any]:
    """Returns a row in TRL's columns, as chat turns."""
    return {
        "images": [{"bytes": png(number), "path": None}],
        "prompt": [{"role": "user", "content": f"placeholder harmful question {number}"}],
        "chosen": [{"role": "assistant", "content": "I would rather not."}],
        "rejected": [{"role": "assistant", "content": f"Yes: placeholder {number}."}],
    } | changes


def spa_vl_row(number: int = 0, **changes: Any) -> dict[str, Any]:
    """Returns a row in the columns of SPA-VL's release."""
    return {
        "image": {"bytes": png(number), "path": f"{number}.png"},
        "question": f" placeholder harmful question {number}\n",
        "chosen": "I would rather not.",
        "rejected": f"Yes: placeholder {number}.",
        "image_name": f"{number}.png",
    } | changes


def write_rows(folder: Path, rows: Sequence[dict[str, Any]], name: str = "train-00000-of-00001.parquet") -> Path:
    """Writes one Parquet file into the folder and returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), folder / name)
    return folder


def put_latin_1(path: Path, column: str) -> None:
    """Puts a text into a column of a Parquet file that is no UTF-8, in every row."""
    table = pq.read_table(path)
    said = pa.array(["caf\xe9".encode("latin-1")] * len(table)).view(pa.string())
    pq.write_table(table.set_column(table.schema.get_field_index(column), column, said), path)
