"""The formats that are JSON with pictures beside it: LLaMA-Factory's and ms-swift's.

LLaMA-Factory: its data/README.md, preference data in `sharegpt` form (`ranking: true`), registered in
`dataset_info.json`; pictures are found below the folder of the data. ms-swift: docs, Custom-dataset, RLHF: `messages`,
`rejected_response`, `images`; it wants absolute paths of pictures. Both put `<image>` where the picture stands.
"""

import json
from pathlib import Path
from typing import Any, BinaryIO

from spavl.dataset.source_rows import SourceRow
from spavl.store.files import disk_errors_named, make_folder, write_atomically

IMAGE_TOKEN = "<image>"


class JsonExport:
    """Writes each split's pairs to one file, and each different picture once.

    Args:
        folder: Where the files go.
        final: Where `folder` will lie when it is finished; ms-swift's rows name pictures below it.
        lines: Whether the file is JSONL for ms-swift, and not a JSON list for LLaMA-Factory.
    """

    def __init__(self, folder: Path, final: Path, lines: bool) -> None:
        self._folder, self._final, self._lines = folder, final, lines
        self._files: dict[str, BinaryIO] = {}
        self._pictures: set[str] = set()

    def add(self, row: SourceRow) -> bool:
        """Takes a pair, and says whether it has a place in this format.

        A question without answers has none, nor has a text that says `<image>`, which would ask for a second picture.

        Raises:
            RunError: The disk is full.
        """
        if row.answers is None or any(IMAGE_TOKEN in text for text in (row.question, *row.answers)):
            return False
        if row.picture_name not in self._pictures:
            write_atomically(self._folder / "images" / row.picture_name, row.picture)
            self._pictures.add(row.picture_name)
        body = self._swift(row, row.answers) if self._lines else _llamafactory(row, row.answers)
        with disk_errors_named(self._folder):
            first = row.split not in self._files
            file = self._files[row.split] if not first else self._open(row.split)
            file.write(self._between(first) + json.dumps(body, ensure_ascii=False).encode())
        return True

    def close(self) -> None:
        """Ends the files, and registers them for LLaMA-Factory.

        Raises:
            RunError: The disk is full.
        """
        with disk_errors_named(self._folder):
            for file in self._files.values():
                file.write(b"\n" if self._lines else b"\n]\n")
                file.close()
        if not self._lines:
            info = {f"spavl_{split}": _description(f"{split}.json") for split in self._files}
            write_atomically(self._folder / "dataset_info.json", json.dumps(info, indent=2).encode() + b"\n")

    def _open(self, split: str) -> BinaryIO:
        make_folder(self._folder)
        self._files[split] = (self._folder / f"{split}.{'jsonl' if self._lines else 'json'}").open("wb")
        return self._files[split]

    def _between(self, first: bool) -> bytes:
        if self._lines:
            return b"" if first else b"\n"
        return b"[\n" if first else b",\n"

    def _swift(self, row: SourceRow, answers: tuple[str, str]) -> dict[str, Any]:
        chosen, rejected = answers
        asked = {"role": "user", "content": IMAGE_TOKEN + row.question}
        return {
            "messages": [asked, {"role": "assistant", "content": chosen}],
            "rejected_response": rejected,
            "images": [str(self._final / "images" / row.picture_name)],
        }


def _llamafactory(row: SourceRow, answers: tuple[str, str]) -> dict[str, Any]:
    chosen, rejected = answers
    return {
        "conversations": [{"from": "human", "value": IMAGE_TOKEN + row.question}],
        "chosen": {"from": "gpt", "value": chosen},
        "rejected": {"from": "gpt", "value": rejected},
        "images": [f"images/{row.picture_name}"],
    }


def _description(file_name: str) -> dict[str, Any]:
    columns = {"messages": "conversations", "chosen": "chosen", "rejected": "rejected", "images": "images"}
    return {"file_name": file_name, "formatting": "sharegpt", "ranking": True, "columns": columns}
