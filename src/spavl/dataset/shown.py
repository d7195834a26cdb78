"""What a dataset or a benchmark shows and asks: its rows as a text and pictures each, whatever its files look like.

It reads Parquet (TRL's columns or SPA-VL's), and folders of pictures with or without tables of prompts beside them
(JSONL, JSON, CSV, or one prompt a line). It changes nothing and decodes no picture.
"""

import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from spavl.dataset.columns import PICTURE_COLUMNS, PROMPT_COLUMNS, row_pictures, said
from spavl.errors import UserError
from spavl.store.split_files import UNREADABLE, check_parts, file_inside
from spavl.strict_csv import parse_csv
from spavl.texts.visible import whole

ROWS_AT_ONCE = 100
PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"})
TABLE_SUFFIXES = frozenset({".jsonl", ".json", ".csv", ".txt"})
TEXT_FIELDS = ("prompt", "question", "text")
NAME_FIELDS = ("file_name", "image_name", "image")
NOT_PROMPTS = frozenset({"results.jsonl", "manifest.json", "croissant.json", "dataset_info.json"})


class Shown(NamedTuple):
    """One row."""

    id: str
    """File within the folder, and the row's number in it from 0: `data/train-00000-of-00001.parquet#12`."""
    text: str
    """What is asked; empty where nothing is."""
    pictures: tuple[bytes, ...]


def parquet_files(folder: Path) -> list[Path]:
    """Returns the Parquet files of a folder, in order.

    Raises:
        UserError: One of several parts is missing.
    """
    found = sorted(folder.rglob("*.parquet"))
    check_parts(found)
    return found


def read_shown(folder: Path) -> Iterator[Shown]:
    """Yields the rows of a dataset or benchmark.

    Raises:
        UserError: There is no such folder, nothing in it can be compared, or a file is damaged or missing.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder. Give a folder of Parquet files, or of pictures and prompts.")
    tables = parquet_files(folder)
    empty = True
    for one in _tables(folder, tables) if tables else _loose_files(folder):
        empty = empty and not (one.text.strip() or one.pictures)
        yield one
    if empty:
        raise UserError(
            f"{folder} holds nothing to compare. Give Parquet files with `images` or `image` and `prompt` or "
            "`question`; or pictures; or prompts in a .jsonl, .json, .csv or .txt file."
        )


def _tables(folder: Path, paths: list[Path]) -> Iterator[Shown]:
    for path in paths:
        try:
            with pq.ParquetFile(path) as file:
                names = [one for one in (*PICTURE_COLUMNS, *PROMPT_COLUMNS) if one in file.schema_arrow.names]
                if not names:
                    raise UserError(
                        f"{path} has no column of pictures ({', '.join(PICTURE_COLUMNS)}) or prompts "
                        f"({', '.join(PROMPT_COLUMNS)}); its columns are {', '.join(file.schema_arrow.names)}. "
                        "Rename one, or remove the file."
                    )
                number = 0
                for batch in file.iter_batches(ROWS_AT_ONCE, columns=names):
                    for row in batch.to_pylist():
                        yield Shown(f"{path.relative_to(folder)}#{number}", _asked(row), tuple(_pictures(row, folder)))
                        number += 1
        except UNREADABLE as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{path} cannot be read ({reason}). Get the file again.") from error


def _asked(row: Mapping[str, Any]) -> str:
    found = next((row[name] for name in PROMPT_COLUMNS if row.get(name)), "")
    if not isinstance(found, str | list):
        return str(found)
    return said(found if isinstance(found, str) else found[-1:], "user") or ""


def _pictures(row: Mapping[str, Any], folder: Path) -> Iterator[bytes]:
    for picture in row_pictures(row):
        if picture.content:
            yield picture.content
        elif picture.name:
            yield from _named(folder, picture.name)


def _named(folder: Path, name: str) -> Iterator[bytes]:
    """Yields the picture that a row names, if it lies in the folder."""
    path = file_inside(folder, name) or file_inside(folder / "images", name)
    if path is not None:
        yield path.read_bytes()


def _loose_files(folder: Path) -> Iterator[Shown]:
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in NOT_PROMPTS]
    named: set[Path] = set()
    for path in paths:
        if path.suffix.lower() not in TABLE_SUFFIXES:
            continue
        for number, (text, name) in enumerate(_prompts(path)):
            picture = file_inside(folder, str(path.parent.relative_to(folder) / name)) if name else None
            if name and picture is None:
                raise UserError(f"{path}, entry {number}: {name!r} is no file of the folder. Correct the name.")
            named |= {picture} if picture is not None else set()
            yield Shown(
                f"{path.relative_to(folder)}#{number}", text, (picture.read_bytes(),) if picture is not None else ()
            )
    for path in paths:
        if path.suffix.lower() in PICTURE_SUFFIXES and path.resolve() not in named:
            yield Shown(str(path.relative_to(folder)), "", (path.read_bytes(),))


def _prompts(path: Path) -> list[tuple[str, str]]:
    """Returns (prompt, picture's name) of each entry of a table; either may be empty."""
    try:
        content = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".txt":
            return [(line, "") for line in content.splitlines() if line.strip()]
        rows = _entries(path.suffix, content)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {error}. Save it as {path.suffix[1:].upper()} in UTF-8.") from error
    return [(_field(row, TEXT_FIELDS), _field(row, NAME_FIELDS)) for row in rows]


def _entries(suffix: str, content: str) -> list[Mapping[str, Any]]:
    if suffix == ".csv":
        return [row for _, row in parse_csv(io.StringIO(content, newline="")).rows]
    body = (
        json.loads(content) if suffix == ".json" else [json.loads(one) for one in content.splitlines() if one.strip()]
    )
    if not isinstance(body, list) or not all(isinstance(one, dict) for one in body):
        raise ValueError("it is not a list of objects with `prompt` or `question`")
    return body


def _field(row: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return whole(next((value for name in names if isinstance(value := row.get(name), str) and value.strip()), ""))
