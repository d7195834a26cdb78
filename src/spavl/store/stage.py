"""A stage's directory: one line of `results.jsonl` per item, and a manifest once every item has its line.

An item is the smallest thing that can fail alone. Its line holds its record or its failure, so a stage that was
killed goes on by skipping the items that have a line. A last line torn by a crash is dropped and redone. An attempt
that made no record at all has its failures tried again, lest one mistake in a server's settings were final. Of a line
only its place in the file is kept in memory.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from spavl.errors import RunError, UserError
from spavl.records import Failure, Record
from spavl.store.files import append_whole, disk_errors_named, make_folder, write_atomically
from spavl.store.manifest import Counts, Manifest, Usage, config_hash, git_state, package_versions, read_manifest

R = TypeVar("R", bound=Record)
EFFORT_INTERVAL_S = 2.0
"""How often the seconds and calls of a running stage are noted; a crash forgets at most this much of them."""


class Outcome(NamedTuple):
    """What became of one item: exactly one of `record` and `failure` is set."""

    item: str
    record: Record | None = None
    failure: Failure | None = None

    def to_line(self) -> bytes:
        """Returns the item's line of `results.jsonl`."""
        record = self.record.model_dump(mode="json") if self.record is not None else None
        failure = self.failure.model_dump(mode="json") if self.failure is not None else None
        body = {"item": self.item, "record": record, "failure": failure}
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


class StageDirectory:
    """One stage of one run.

    Args:
        path: The stage's own directory; created when missing.
        config: The part of the resolved configuration that decides the stage's records.
        inputs: Upstream stage name -> hash of its results.
        seed: The run's seed, for the manifest.

    Raises:
        UserError: The directory was made with another configuration or from other inputs.
        RunError: The results of a finished stage were changed, or hold a line that spavl did not write.
    """

    def __init__(self, path: Path, config: dict[str, Any], inputs: dict[str, str], seed: int = 0) -> None:
        self.path = path
        self.name = path.name
        self._config = json.loads(json.dumps(config, default=str))
        self._inputs = inputs
        self._seed = seed
        self._opened_at = time.monotonic()
        self._usage = Usage()
        make_folder(path)
        self._check_identity()
        self._places = self._find_lines()

    @property
    def results_path(self) -> Path:
        """Where the outcomes lie."""
        return self.path / "results.jsonl"

    @property
    def manifest_path(self) -> Path:
        """Where the manifest lies, once the stage is finished."""
        return self.path / "manifest.json"

    def manifest(self) -> Manifest | None:
        """Returns the manifest of a finished stage, or None."""
        return read_manifest(self.path)

    def pending(self, items: Iterable[str]) -> list[str]:
        """Returns the items that have no outcome yet, in order."""
        return [item for item in items if item not in self._places]

    def append(self, outcomes: Sequence[Outcome], usage: Usage | None = None) -> None:
        """Adds the outcomes of some items, and what they used; they outlive the process once this returns.

        Raises:
            RunError: The disk is full; nothing of these outcomes counts, earlier ones do.
        """
        self._usage += usage or Usage()
        lines = {outcome.item: outcome.to_line() for outcome in outcomes}
        place = append_whole(self.results_path, b"".join(lines.values()))
        for item, line in lines.items():
            self._places[item] = place
            place += len(line)
        if time.monotonic() - self._opened_at > EFFORT_INTERVAL_S:
            self._note_effort()

    def finish(self, items: Sequence[str], facts: dict[str, Any] | None = None) -> Manifest:
        """Puts the results into item order and writes the manifest.

        Raises:
            RunError: An item has no outcome, or the counts do not add up.
        """
        missing = self.pending(items)
        if missing:
            raise RunError(f"Stage {self.name}: {len(missing)} items have no outcome, the first is {missing[0]}.")
        tally = _Tally()
        write_atomically(self.results_path, tally.passing(self._lines(dict.fromkeys(items))))
        self._places = tally.places
        self._note_effort()
        effort = self._effort()
        manifest = Manifest(
            stage=self.name,
            config=self._config,
            config_hash=config_hash(self._config),
            inputs=self._inputs,
            results_hash=tally.digest.hexdigest(),
            counts=Counts.of(len(items), tally.records, tally.failures),
            usage=Usage.model_validate(effort["usage"]),
            seconds=round(effort["seconds"], 3),
            seed=self._seed,
            git=git_state(),
            versions=package_versions(),
            facts=facts or {},
        )
        write_atomically(self.manifest_path, manifest.model_dump_json(indent=2).encode() + b"\n")
        return manifest

    def records(self, kind: type[R]) -> list[R]:
        """Returns the records; once the stage is finished they are in item order, whatever order they came in."""
        return list(self.each(kind))

    def each(self, kind: type[R]) -> Iterator[R]:
        """Yields the records, as `records`, read as they are asked for."""
        bodies = (json.loads(line)["record"] for _, line in self._lines(self._places))
        return (kind.model_validate(body) for body in bodies if body is not None)

    def failures(self) -> dict[str, Failure]:
        """Returns item -> failure for the items that have no record."""
        bodies = ((item, json.loads(line)["failure"]) for item, line in self._lines(self._places))
        return {item: Failure.model_validate(body) for item, body in bodies if body}

    def _check_identity(self) -> None:
        identity_path = self.path / "identity.json"
        identity = {"config": self._config, "inputs": self._inputs}
        if not identity_path.exists():
            write_atomically(identity_path, json.dumps(identity, indent=2, sort_keys=True).encode() + b"\n")
            return
        known = json.loads(identity_path.read_bytes())
        if known == identity:
            return
        if not self.results_path.exists():  # an attempt that made nothing binds nobody
            write_atomically(identity_path, json.dumps(identity, indent=2, sort_keys=True).encode() + b"\n")
            return
        changed = _first_difference(known, identity).replace("`config.", "`", 1)
        raise UserError(
            f"{self.path} was made with other settings: {changed}. Give the run another name (`run=runs/NAME`), "
            f"or make this stage and those after it again with `--restart-from {self.name}`."
        )

    def _lines(self, items: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Yields the items with their lines, read as they are asked for."""
        if self._places:
            with self.results_path.open("rb") as file:
                for item in items:
                    file.seek(self._places[item])
                    yield item, file.readline()

    def _find_lines(self) -> dict[str, int]:
        """Returns item -> where its line begins, for the items that need not be done again."""
        finished = self.manifest() is not None
        if not self.results_path.exists():
            return {}
        places: dict[str, int] = {}
        failures: dict[str, Failure] = {}
        whole = 0
        with self.results_path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                try:
                    body = json.loads(line)
                    places[body["item"]] = whole
                    failures.pop(body["item"], None)
                    if body["failure"] and not finished:
                        failures[body["item"]] = Failure.model_validate(body["failure"])
                except (ValueError, KeyError, TypeError) as error:
                    raise RunError(
                        f"{self.results_path} holds a line that spavl did not write: {line[:60]!r}. "
                        f"Restore the file, or start again with `--restart-from {self.name}`."
                    ) from error
                whole += len(line)
        if whole != self.results_path.stat().st_size:
            with disk_errors_named(self.results_path):
                os.truncate(self.results_path, whole)
        fruitless = len(failures) == len(places)
        again = {item for item, one in failures.items() if one.transient or (fruitless and not one.dropped)}
        return {item: place for item, place in places.items() if item not in again}

    def _effort(self) -> dict[str, Any]:
        effort_path = self.path / "effort.json"
        if effort_path.exists():
            known: dict[str, Any] = json.loads(effort_path.read_bytes())
            return known
        return {"seconds": 0.0, "usage": Usage().model_dump()}

    def _note_effort(self) -> None:
        """Adds the seconds and calls since the last note, so that an interrupted attempt's effort is not forgotten."""
        now = time.monotonic()
        effort = self._effort()
        effort["seconds"] += now - self._opened_at
        effort["usage"] = (Usage.model_validate(effort["usage"]) + self._usage).model_dump()
        self._opened_at, self._usage = now, Usage()
        write_atomically(self.path / "effort.json", json.dumps(effort).encode())


class _Tally:
    """Counts lines on their way to the file of a finished stage."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}
        self.digest = hashlib.sha256()
        self.records = 0
        self.failures: list[Failure] = []

    def passing(self, lines: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
        """Yields the lines of some items."""
        place = 0
        for item, line in lines:
            body = json.loads(line)
            self.records += body["record"] is not None
            if body["failure"]:
                self.failures.append(Failure.model_validate(body["failure"]))
            self.places[item] = place
            self.digest.update(line)
            place += len(line)
            yield line


def _first_difference(known: Any, now: Any, where: str = "") -> str:  # noqa: ANN401  # any JSON value
    """Names the first place where two JSON values differ."""
    if isinstance(known, dict) and isinstance(now, dict):
        for key in sorted({*known, *now}):
            if known.get(key) != now.get(key):
                return _first_difference(known.get(key), now.get(key), f"{where}.{key}" if where else key)
    return f"`{where}` was {_short(known)} and is now {_short(now)}"


def _short(value: Any) -> str:  # noqa: ANN401  # any JSON value
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
