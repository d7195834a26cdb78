"""The page that says what a stage did: its config, inputs, versions, seeds, counts that add up, seconds and tokens."""

import functools
import hashlib
import importlib.metadata
import json
import platform
import subprocess
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from spavl.errors import RunError

REPORTED_PACKAGES = (
    "spavl",
    "torch",
    "transformers",
    "peft",
    "safetensors",
    "datasets",
    "pyarrow",
    "numpy",
    "pillow",
    "aiohttp",
    "pydantic",
)


class Ending(NamedTuple):
    """Why an item has no record, as far as failures are counted by it."""

    reason: str
    dropped: bool
    transient: bool

    @classmethod
    def of(cls, failure: Mapping[str, Any]) -> "Ending":
        """Reads it from a failure as JSON."""
        return cls(*(failure[field] for field in cls._fields))


class Counts(BaseModel):
    """What became of a stage's items; `items = records + failures + dropped`, or the stage fails."""

    model_config = ConfigDict(frozen=True)

    items: int
    records: int
    failures: int
    dropped: int
    by_reason: dict[str, int] = Field(default_factory=dict)
    """Failures and drops, by reason."""
    passing: int = 0
    """How many of the failures are transient: making the stage again tries them once more, and costs nothing else."""

    @classmethod
    def of(cls, items: int, records: int, reasons: Mapping[Ending, int]) -> "Counts":
        """Adds up failures and drops.

        Args:
            items: All items.
            records: Those that have a record.
            reasons: Why there is no record -> the others.

        Raises:
            RunError: The counts do not add up.
        """
        dropped = sum(count for ending, count in reasons.items() if ending.dropped)
        by_reason: Counter[str] = Counter()
        for ending, count in reasons.items():
            by_reason[ending.reason] += count
        counts = cls(
            items=items,
            records=records,
            failures=by_reason.total() - dropped,
            dropped=dropped,
            by_reason=dict(sorted(by_reason.items())),
            passing=sum(count for ending, count in reasons.items() if ending.transient),
        )
        if counts.items != counts.records + counts.failures + counts.dropped:
            raise RunError(f"The counts of a stage do not add up: {counts.model_dump()}. Please report this as a bug.")
        return counts


class Usage(BaseModel):
    """What a stage's model calls used."""

    model_config = ConfigDict(frozen=True)

    calls: int = 0
    """Calls made by this stage over all its attempts; answers taken from the call store are not among them."""
    stored_calls: int = 0
    """Answers that came from the call store."""
    prompt_tokens: int = 0
    """What models read, by their own count, or the most it can have been where a server does not say."""
    completion_tokens: int = 0
    cost: dict[str, float] = Field(default_factory=dict)
    """Currency -> amount, of models with a price; answers taken from the call store cost nothing."""

    def __add__(self, other: "Usage") -> "Usage":
        """Returns the sum, field by field and currency by currency."""
        amounts = [
            (currency, self.cost.get(currency, 0) + other.cost.get(currency, 0)) for currency in self.cost | other.cost
        ]
        return Usage(
            calls=self.calls + other.calls,
            stored_calls=self.stored_calls + other.stored_calls,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            cost={currency: round(amount, 12) for currency, amount in amounts},
        )


class Manifest(BaseModel):
    """Everything needed to say how a stage's records came to be."""

    stage: str
    config: dict[str, Any]
    config_hash: str
    inputs: dict[str, str]
    """Upstream stage -> SHA-256 of its results."""
    results_hash: str
    """SHA-256 of this stage's results, in item order."""
    counts: Counts
    usage: Usage
    seconds: float
    """Wall-clock seconds over all attempts."""
    seed: int
    git: dict[str, Any]
    versions: dict[str, str]
    facts: dict[str, Any] = Field(default_factory=dict)
    """What this stage alone has to say (flip rates, thresholds, picture sets used)."""


def read_manifest(stage: Path) -> Manifest | None:
    """Returns the manifest of a finished stage whose results are still those it describes; None before it is finished.

    Args:
        stage: The stage's directory.

    Raises:
        RunError: The manifest or the results were changed since, or are gone.
    """
    path, results = stage / "manifest.json", stage / "results.jsonl"
    if not path.exists():
        return None
    again = f"Restore the file, or make this stage and those after it again with `--restart-from {stage.name}`."
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise RunError(f"{path} is damaged. {again}") from error
    if not results.exists() or hash_file(results) != manifest.results_hash:
        raise RunError(f"{results} is not what it was when the stage was finished. {again}")
    return manifest


def hash_file(path: Path) -> str:
    """Returns the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def config_hash(config: dict[str, Any]) -> str:
    """Returns the SHA-256 of the canonical JSON of a resolved configuration."""
    return hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()


@functools.cache
def package_versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that can change a result."""
    versions = {"python": platform.python_version()}
    for name in REPORTED_PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


@functools.cache
def git_state() -> dict[str, Any]:
    """Returns the commit of the source tree and whether it has uncommitted changes; empty outside a checkout."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=here, capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "--", str(here)))}
    except (OSError, subprocess.SubprocessError):
        return {}
