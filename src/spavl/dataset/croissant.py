"""Croissant metadata (mlcommons.org/croissant/1.0): what a dataset's files and columns are, in JSON-LD.

It describes the Parquet files of a folder with their columns, or where there are none its JSON files, and names its
meta files; pictures beside them it does not list.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from spavl.store.files import write_atomically
from spavl.store.manifest import hash_file
from spavl.store.split_files import split_of

TERMS = (
    "citeAs column conformsTo data dataType examples extract field fileProperty fileObject fileSet format includes "
    "isLiveDataset jsonPath key md5 parentField path recordSet references regex repeated replace separator source "
    "subField transform"
)
ENCODINGS = {
    ".parquet": "application/x-parquet",
    ".json": "application/json",
    ".jsonl": "application/jsonlines",
}


def write_croissant(folder: Path, name: str, description: str, licences: Sequence[str]) -> None:
    """Writes `croissant.json` into the folder, whose other files are finished.

    Args:
        folder: The dataset's folder.
        name: What the dataset is called.
        description: What it is, in a sentence.
        licences: Licences of its rows.

    Raises:
        RunError: The disk is full.
    """
    tables = sorted(folder.rglob("*.parquet"))
    paths = tables or [path for path in sorted(folder.glob("*.json*")) if path.name != "croissant.json"]
    paths += sorted(folder.glob("meta_files/**/*.json"))
    body: dict[str, Any] = {
        "@context": _context(),
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": name,
        "description": description,
        "license": list(licences) or ["unknown"],
        "version": "1.0.0",
        "distribution": [_file(path, folder) for path in paths],
        "recordSet": [_records(path, folder) for path in paths if path.suffix == ".parquet"],
    }
    write_atomically(folder / "croissant.json", json.dumps(body, indent=2, ensure_ascii=False).encode() + b"\n")


def _context() -> dict[str, Any]:
    typed = {"data": "@json", "examples": "@json", "dataType": "@vocab"}
    terms: dict[str, Any] = {term: f"cr:{term}" for term in TERMS.split()}
    terms |= {term: {"@id": f"cr:{term}", "@type": kind} for term, kind in typed.items()}
    return {
        "@language": "en",
        "@vocab": "https://schema.org/",
        "sc": "https://schema.org/",
        "cr": "http://mlcommons.org/croissant/",
        "rai": "http://mlcommons.org/croissant/RAI/",
        "dct": "http://purl.org/dc/terms/",
        **terms,
        "conformsTo": "dct:conformsTo",
    }


def _file(path: Path, folder: Path) -> dict[str, Any]:
    name = path.relative_to(folder).as_posix()
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": ENCODINGS[path.suffix],
        "sha256": hash_file(path),
    }


def _records(path: Path, folder: Path) -> dict[str, Any]:
    split, name = split_of(path), path.relative_to(folder).as_posix()
    fields = []
    for column in pq.read_schema(path):
        described = _type(column.type)
        if described is None:
            continue
        source: dict[str, Any] = {"fileObject": {"@id": name}, "extract": {"column": column.name}}
        if described == "sc:ImageObject":
            source["transform"] = {"jsonPath": "bytes"}
        field = {"@type": "cr:Field", "@id": f"{split}/{column.name}", "name": column.name, "dataType": described}
        fields.append(field | {"source": source})
    return {"@type": "cr:RecordSet", "@id": split, "name": split, "field": fields}


def _type(kind: pa.DataType) -> str | None:
    """Returns a column's type in Croissant's words; None for lists, which its version 1.0 cannot take from Parquet."""
    if pa.types.is_string(kind):
        return "sc:Text"
    if pa.types.is_floating(kind):
        return "sc:Float"
    return "sc:ImageObject" if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0 else None
