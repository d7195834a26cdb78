"""A stage's directory: one line of `results.jsonl` per item, and a manifest once every item has its line.

An item is the smallest thing that can fail alone. Its line holds its record or its failure, so a stage that was
killed goes on by skipping the items that have a line. A last line torn by a crash is dropped and redone. An attempt
that made no record at all has its failures tried again, lest one mistake in a server's settings were final. Of a line
only its place in the file is kept in memory.
"""

import hashlib
import json
import os
import re
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from spavl.errors import RunError, UserError
from spavl.records import Failure, Record
from spavl.store.files import append_whole, disk_errors_named, make_folder, write_atomically
from spavl.store.manifest import (
    Counts,
    Ending,
    Manifest,
    Usage,
    config_hash,
    git_state,
    package_versions,
    read_manifest,
)
from spavl.store.outcome import Outcome, read_body
from spavl.store.places import Places
from spavl.store.shelf import Shelf, outcome_shelf, record_shelf

R = TypeVar("R", bound=Record)
EFFORT_INTERVAL_S = 2.0
"""How often the seconds and calls of a running stage are noted; a crash forgets at most this much of them."""


APPENDED_AT_ONCE = 1000
"""Outcomes of a station that asks nobody which are written together."""


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
        self._found: tuple[Places, Places] | None = None
        make_folder(path)
        self._check_identity()
        self._finished = self.manifest() is not None
        if not self._finished:
            self._found = self._find_lines()

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
        places, _ = self._lines_found()
        return [item for item in items if item not in places]

    def __contains__(self, item: str) -> bool:
        """Says whether an item has an outcome."""
        return item in self._lines_found()[0]

    def outcome(self, item: str, kind: type[R]) -> R | Failure | None:
        """Returns what became of an item, read from its line; None where that is still to be seen."""
        place = self._lines_found()[0].get(item)
        for line in _lines_at(self.results_path, [] if place is None else [place]):
            body = read_body(line)
            if body["item"] == item:
                return (
                    kind.model_validate(body["record"]) if body["record"] else Failure.model_validate(body["failure"])
                )
        return None

    def append(self, outcomes: Sequence[Outcome], usage: Usage | None = None) -> None:
        """Adds the outcomes of some items, and what they used; they outlive the process once this returns.

        Raises:
            RunError: The disk is full; nothing of these outcomes counts, earlier ones do.
        """
        if usage is not None:
            self._usage += usage
        places, failed = self._lines_found()
        lines = [outcome.to_line() for outcome in outcomes]
        place = append_whole(self.results_path, b"".join(lines))
        for outcome, line in zip(outcomes, lines, strict=True):
            places.put(outcome.item, place)
            if outcome.failure is None:
                failed.drop(outcome.item)
            else:
                failed.put(outcome.item, place)
            place += len(line)
        if time.monotonic() - self._opened_at > EFFORT_INTERVAL_S:
            self._note_effort()

    def append_missing(self, outcomes: Iterable[Outcome]) -> None:
        """Adds those outcomes whose items have none, some at a time.

        Raises:
            RunError: The disk is full.
        """
        missing = (outcome for outcome in outcomes if outcome.item not in self)
        while some := list(islice(missing, APPENDED_AT_ONCE)):
            self.append(some)

    def finish(self, items: Collection[str], facts: dict[str, Any] | None = None) -> Manifest:
        """Puts the results into item order and writes the manifest.

        Raises:
            RunError: An item has no outcome, or the counts do not add up.
        """
        places, _ = self._lines_found()
        missing = [item for item in items if item not in places]
        if missing:
            raise RunError(f"Stage {self.name}: {len(missing)} items have no outcome, the first is {missing[0]}.")
        tally = _Tally()
        self._found = None  # the places are used up below; after an error they are found again
        write_atomically(self.results_path, tally.passing(self._lines_of(items, places)))
        self._finished = True
        self._note_effort()
        effort = self._effort()
        manifest = Manifest(
            stage=self.name,
            config=self._config,
            config_hash=config_hash(self._config),
            inputs=self._inputs,
            results_hash=tally.digest.hexdigest(),
            counts=Counts.of(len(items), tally.records, tally.reasons),
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
        bodies = (read_body(line)["record"] for line in self._lines())
        return (kind.model_validate(body) for body in bodies if body is not None)

    def shelf(self, kind: type[R], by: str = "id") -> Shelf[R]:
        """Returns the records by one of their fields, to be read when they are asked for."""
        return record_shelf(self.results_path, kind, by)

    def outcomes(self, kind: type[R]) -> Shelf[R | Failure]:
        """Returns records and failures of a finished stage by item, to be read when they are asked for."""
        return outcome_shelf(self.results_path, kind)

    @property
    def failed(self) -> int:
        """How many items have no record."""
        return len(self._lines_found()[1])

    def failures(self) -> dict[str, Failure]:
        """Returns item -> failure for the items that have no record."""
        return dict(self.each_failure())

    def each_failure(self) -> Iterator[tuple[str, Failure]]:
        """Yields (item, failure), as `failures`, read as they are asked for."""
        bodies = (read_body(line) for line in _lines_at(self.results_path, self._lines_found()[1].in_order()))
        return ((body["item"], Failure.model_validate(body["failure"])) for body in bodies)

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

    def _lines(self) -> Iterator[bytes]:
        """Yields the lines that count, in the order of the file, read as they are asked for."""
        if not self.results_path.exists():
            return
        if not self._finished:
            yield from _lines_at(self.results_path, self._lines_found()[0].in_order())
            return
        with self.results_path.open("rb") as file:
            yield from file

    def _lines_of(self, items: Iterable[str], places: Places) -> Iterator[tuple[str, bytes]]:
        """Yields the items with their lines, read as they are asked for; each place is given once and forgotten."""
        if not places:
            return
        with self.results_path.open("rb") as file:
            for item in items:
                place = places.get(item)
                if place is not None:  # an item that comes twice has one line, so the counts will not add up
                    places.drop(item)
                    file.seek(place)
                    yield item, file.readline()

    def _lines_found(self) -> tuple[Places, Places]:
        """Returns where the lines begin of the items that need not be done again, and of those that failed."""
        if self._found is None:
            self._found = self._find_lines()
        return self._found

    def _find_lines(self) -> tuple[Places, Places]:
        places, failed = Places(), Places()
        if not self.results_path.exists():
            return places, failed
        whole = 0
        with self.results_path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                try:
                    body = read_body(line)
                    places.put(body["item"], whole)
                    if body["failure"]:
                        failed.put(body["item"], whole)
                    else:
                        failed.drop(body["item"])
                except (ValueError, KeyError, TypeError) as error:
                    raise RunError(
                        f"{self.results_path} holds a line that spavl did not write: {line[:60]!r}. "
                        f"Restore the file, or start again with `--restart-from {self.name}`."
                    ) from error
                whole += len(line)
        if whole != self.results_path.stat().st_size:
            with disk_errors_named(self.results_path):
                os.truncate(self.results_path, whole)
        if not self._finished:
            self._forget_passing(places, failed)
        return places, failed

    def _forget_passing(self, places: Places, failed: Places) -> None:
        """Forgets the failures of an earlier attempt that are to be tried again."""
        fruitless = len(failed) == len(places)
        for line in _lines_at(self.results_path, failed.in_order()):
            body = read_body(line)
            failure = Failure.model_validate(body["failure"])
            if failure.transient or (fruitless and not failure.dropped):
                places.drop(body["item"])
                failed.drop(body["item"])

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
        self.digest = hashlib.sha256()
        self.records = 0
        self.reasons: Counter[Ending] = Counter()

    def passing(self, lines: Iterable[tuple[str, bytes]]) -> Iterator[bytes]:
        """Yields the lines of some items.

        Raises:
            RunError: A line is another item's.
        """
        for item, line in lines:
            body = read_body(line)
            if body["item"] != item:
                raise RunError(f"The line of {item} is that of {body['item']}. Please report this as a bug.")
            self.records += body["record"] is not None
            if body["failure"]:
                self.reasons[Ending.of(body["failure"])] += 1
            self.digest.update(line)
            yield line


def _lines_at(path: Path, places: Iterable[int]) -> Iterator[bytes]:
    """Yields the lines that begin at some places of a file, read as they are asked for."""
    file = None
    try:
        for place in places:
            file = file or path.open("rb")
            file.seek(place)
            yield file.readline()
    finally:
        if file is not None:
            file.close()


DIGESTS = {
    "rubrics": "the text of the judge's rubric",
    "rubric": "the text of the judge's rubric",
    "rules": "the judge's own rules, weights or form",
    "prompts": "the text of the question prompts",
    "prompt": "the text of the caption prompt",
    "taxonomy": "the taxonomy",
    "files": "the files of a benchmark",
}
"""Setting that is a digest -> what it is the digest of; two digests tell nobody what changed."""
_DIGEST = re.compile("[0-9a-f]{12,64}")


def _first_difference(known: Any, now: Any, where: str = "") -> str:  # noqa: ANN401  # any JSON value
    """Names the first place where two JSON values differ."""
    if isinstance(known, dict) and isinstance(now, dict):
        for key in sorted({*known, *now}):
            if known.get(key) != now.get(key):
                return _first_difference(known.get(key), now.get(key), f"{where}.{key}" if where else key)
    if isinstance(known, list) and isinstance(now, list) and len(known) == len(now):
        place, before, after = next(
            (n, *both) for n, both in enumerate(zip(known, now, strict=True)) if both[0] != both[1]
        )
        name = before.get("name") if isinstance(before, dict) and isinstance(after, dict) else None
        same = name is not None and name == after.get("name")
        return _first_difference(before, after, f"{where}.{place}{f' ({name})' if same else ''}")
    named = where.removeprefix("config.").split(".")
    told = next((DIGESTS[part] for part in named if part in DIGESTS), None)
    if told and all(isinstance(value, str) and _DIGEST.fullmatch(value) for value in (known, now)):
        return f"{told} changed (`{'.'.join(named)}`)"
    return f"`{where}` was {_short(known)} and is now {_short(now)}"


def _short(value: Any) -> str:  # noqa: ANN401  # any JSON value
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
