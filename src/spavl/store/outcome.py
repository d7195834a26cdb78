"""What became of one item, and its line of `results.jsonl`."""

import json
from typing import Any, NamedTuple

import orjson

from spavl.records import Failure, Record

Body = dict[str, Any]
"""A line, parsed: `item`, and `record` or `failure`, the other being null."""
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class Outcome(NamedTuple):
    """What became of one item: exactly one of `record` and `failure` is set."""

    item: str
    record: Record | None = None
    failure: Failure | None = None

    def to_line(self) -> bytes:
        """Returns the item's line of `results.jsonl`."""
        record = self.record.model_dump(mode="json") if self.record is not None else None
        failure = self.failure.model_dump(mode="json") if self.failure is not None else None
        return _encode({"item": self.item, "record": record, "failure": failure}).encode() + b"\n"


def read_body(line: bytes) -> Body:
    """Parses a line.

    Raises:
        ValueError: It is no JSON.
    """
    try:
        body: Body = orjson.loads(line)
    except orjson.JSONDecodeError:  # NaN, which Python writes and reads, is none to others
        body = json.loads(line)
    return body
