"""The lines of `metrics.jsonl` as they lie on the disk: one JSON object a step; it knows no figure but the step.

Training that goes on from a step removes the lines behind it, and one that a crash has torn.
"""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from spavl.errors import RunError
from spavl.store.files import append_whole, write_atomically

Line = dict[str, Any]


class StepLines:
    """The file's lines.

    Args:
        path: The file.
        done: The step training goes on from.
        read: What is read of a line when training goes on; has `step`.

    Raises:
        RunError: A line is none that spavl wrote, or the disk is full.
    """

    def __init__(self, path: Path, done: int, read: type[BaseModel]) -> None:
        self._path = path
        lines = _whole_lines(path, read)
        self.reached: int = lines[-1]["step"] if lines else 0
        """The last step that an earlier attempt left, those after `done` included."""
        self.kept = [line for line in lines if line["step"] <= done]
        """The lines up to the step training goes on from."""
        write_atomically(path, b"".join(_encoded(line) for line in self.kept))

    def append(self, line: Line) -> None:
        """Adds a step's line.

        Raises:
            RunError: The disk is full.
        """
        append_whole(self._path, _encoded(line))


def _whole_lines(path: Path, read: type[BaseModel]) -> list[Line]:
    if not path.exists():
        return []
    content = path.read_bytes()
    lines = content[: content.rfind(b"\n") + 1].splitlines()
    return [_decoded(line, f"{path}, line {number}", read) for number, line in enumerate(lines, start=1)]


def _decoded(line: bytes, where: str, read: type[BaseModel]) -> Line:
    try:
        figures: Line = json.loads(line)
        read.model_validate(figures)
    except ValueError as error:
        raise RunError(
            f"{where} is none that spavl wrote: {line[:60]!r}. Restore or remove that line, or start again with "
            "--restart-from train."
        ) from error
    return figures


def _encoded(line: Line) -> bytes:
    return json.dumps(line).encode() + b"\n"
