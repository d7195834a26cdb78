"""A run's directory: one process at a time, its stages side by side, and the way from an id to its record."""

import contextlib
import fcntl
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from spavl.errors import UserError
from spavl.records import Failure, Record
from spavl.store.files import disk_errors_named, make_folder
from spavl.store.manifest import Manifest, read_manifest
from spavl.store.outcome import Body, read_body
from spavl.store.shelf import Shelf, outcome_shelf, record_shelf
from spavl.store.stage import StageDirectory

R = TypeVar("R", bound=Record)
LOCK = ".lock"
MATCHES_NAMED = 5
"""Ids that are listed where the beginning of one was given that several have."""


class RunDirectory:
    """The directory of one run.

    Args:
        path: The run's directory; created when missing.
        seed: The run's seed, noted in every manifest.
    """

    def __init__(self, path: Path, seed: int = 0) -> None:
        self.path = path
        self.seed = seed

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the run for this process.

        Raises:
            UserError: Another process is at work in the same run.
        """
        make_folder(self.path)
        with disk_errors_named(self.path):
            lock = (self.path / LOCK).open("w")
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(
                    f"Another process is at work in {self.path}. Wait for it, or use another run name."
                ) from error
            yield

    def stage(self, name: str, config: dict[str, Any], upstream: Sequence[str] = ()) -> StageDirectory:
        """Opens a stage whose inputs are the finished stages named in `upstream`.

        Raises:
            UserError: An upstream stage is not finished, or the stage was made with other settings.
            RunError: The results of a finished stage were changed.
        """
        inputs = {other: self._results_hash(other) for other in upstream}
        return StageDirectory(self.path / name, config, inputs, self.seed)

    def records(self, stage: str, kind: type[R]) -> list[R]:
        """Returns the records of a finished stage.

        Raises:
            UserError: The stage is not finished.
            RunError: Its results were changed.
        """
        return list(self.each(stage, kind))

    def each(self, stage: str, kind: type[R]) -> Iterator[R]:
        """Yields the records of a finished stage, read as they are asked for; errors are those of `records`."""
        return (kind.model_validate(body["record"]) for body in self._bodies(stage) if body["record"] is not None)

    def shelf(
        self, stage: str, kind: type[R], by: str = "id", keep: Callable[[Body], bool] = lambda _: True
    ) -> Shelf[R]:
        """Returns the records of a finished stage by one of their fields, to be read when they are asked for.

        Args:
            stage: The stage.
            kind: What its records are.
            by: The field that names them.
            keep: Says of a record, as JSON, whether it is wanted.

        Raises:
            UserError: The stage is not finished.
            RunError: Its results were changed.
        """
        self._results_hash(stage)
        return record_shelf(self._results(stage), kind, by, keep)

    def outcomes(self, stage: str, kind: type[R]) -> Shelf[R | Failure]:
        """Returns the outcomes of a finished stage by item, to be read when they are asked for; errors as `shelf`."""
        self._results_hash(stage)
        return outcome_shelf(self._results(stage), kind)

    def failures(self, stage: str) -> dict[str, Failure]:
        """Returns item -> failure for the items of a finished stage that have no record.

        Raises:
            UserError: The stage is not finished.
            RunError: Its results were changed.
        """
        return {
            body["item"]: Failure.model_validate(body["failure"]) for body in self._bodies(stage) if body["failure"]
        }

    def manifests(self, stages: Sequence[str]) -> dict[str, Manifest]:
        """Returns stage -> manifest of those stages that are finished, in order.

        Raises:
            RunError: The results of one of them were changed.
        """
        manifests = {stage: read_manifest(self.path / stage) for stage in stages}
        return {stage: manifest for stage, manifest in manifests.items() if manifest is not None}

    def restart_from(self, name: str, stages: Sequence[str]) -> None:
        """Removes a stage and every stage after it.

        Raises:
            UserError: There is no stage of that name.
        """
        if name not in stages:
            raise UserError(f"--restart-from {name}: there is no such stage. Choose one of: {', '.join(stages)}.")
        for stage in stages[stages.index(name) :]:
            with disk_errors_named(self.path / stage), contextlib.suppress(FileNotFoundError):
                # moved aside in one step: a stage half removed must look neither begun nor finished
                removed = self.path / f".removed-{stage}"
                if removed.exists():
                    shutil.rmtree(removed)
                (self.path / stage).rename(removed)
                shutil.rmtree(removed)

    def reopen(self, name: str, stages: Sequence[str]) -> None:
        """Takes a finished stage up again: its passing failures count no longer, and what was made from it is removed.

        Raises:
            RunError: The disk is full.
        """
        following = stages[stages.index(name) + 1 :]
        if following:  # first: what was made from the stage must not outlive its end
            self.restart_from(following[0], stages)
        with disk_errors_named(self.path / name):
            (self.path / name / "manifest.json").unlink(missing_ok=True)

    def find(self, identifier: str) -> tuple[str, dict[str, Any]] | None:
        """Returns the stage and the body of the record with this id, or None.

        An id's beginning is enough, if no other record's id begins so.

        Raises:
            UserError: The ids of several records begin so.
        """
        found: dict[str, tuple[str, dict[str, Any]]] = {}
        for results in sorted(self.path.glob("*/results.jsonl")):
            with results.open("rb") as file:
                for line in file:
                    if identifier.encode() not in line or not line.endswith(b"\n"):
                        continue
                    record = json.loads(line)["record"]
                    if record is not None and record["id"] == identifier:
                        return results.parent.name, record
                    if record is not None and str(record["id"]).startswith(identifier):
                        found.setdefault(record["id"], (results.parent.name, record))
        if len(found) > 1:
            raise UserError(_ambiguous(identifier, [f"{name} ({stage})" for name, (stage, _) in found.items()]))
        return next(iter(found.values()), None)

    def _bodies(self, stage: str) -> Iterator[Body]:
        """Yields the lines of a finished stage's results."""
        self._results_hash(stage)
        with self._results(stage).open("rb") as file:
            yield from map(read_body, file)

    def _results(self, stage: str) -> Path:
        return self.path / stage / "results.jsonl"

    def _results_hash(self, stage: str) -> str:
        manifest = read_manifest(self.path / stage)
        if manifest is None:
            raise UserError(f"Stage {stage} of {self.path} is not finished. Run `spavl build` first.")
        return manifest.results_hash


def _ambiguous(identifier: str, matches: Sequence[str]) -> str:
    more = f" and {len(matches) - MATCHES_NAMED} more" if len(matches) > MATCHES_NAMED else ""
    return (
        f"{identifier} is the beginning of {len(matches)} ids: {', '.join(matches[:MATCHES_NAMED])}{more}. "
        "Give more of the id."
    )
