"""The contamination check: which rows of a dataset show or ask what a benchmark shows or asks.

Pictures are compared by their bytes and by their looks, prompts by their words and letters. A finding names the rows on
both sides, its kind and its distance; the report holds every one. Answers are not compared.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from spavl.dataset.fingerprints import find_lookalikes
from spavl.dataset.gallery import Gallery, gather
from spavl.dataset.shown import read_shown
from spavl.errors import UserError
from spavl.store.files import write_atomically
from spavl.texts.near import TextLimits, check_minhash, find_same_texts

FindingKind = Literal["image_exact", "image_near", "text_exact", "text_ngram", "text_minhash"]
KINDS: tuple[FindingKind, ...] = get_args(FindingKind)


class CheckLimits(NamedTuple):
    """From where on a row is contaminated."""

    kinds: tuple[FindingKind, ...] = KINDS
    image_bits: int = 8
    """Two pictures look alike when their nearest hashes differ in at most this many of 64 bits."""
    text: TextLimits = TextLimits()


class Finding(NamedTuple):
    """A picture or a text that both have, and the rows that have it."""

    kind: FindingKind
    distance: float
    """0 for equal bytes or words; differing bits for `image_near`; 1 minus the share of common runs for texts."""
    rows: tuple[str, ...]
    """Of the dataset."""
    benchmark: str
    """Folder of the benchmark, as it was given."""
    benchmark_rows: tuple[str, ...]


class Contamination(NamedTuple):
    """What the check found."""

    rows: int
    """Of the dataset."""
    unreadable_pictures: int
    """Compared by their bytes only."""
    benchmarks: dict[str, int]
    """Folder -> rows."""
    findings: list[Finding]

    @property
    def contaminated(self) -> set[str]:
        """The rows of the dataset that are in a finding."""
        return {row for finding in self.findings for row in finding.rows}

    def counts(self) -> dict[str, Any]:
        """Returns the numbers: rows, findings and rows by kind, benchmark rows that were met."""
        by_kind = {
            kind: {
                "findings": sum(one.kind == kind for one in self.findings),
                "rows": len({row for one in self.findings if one.kind == kind for row in one.rows}),
            }
            for kind in KINDS
        }
        met = {(one.benchmark, row) for one in self.findings for row in one.benchmark_rows}
        return {
            "rows": self.rows,
            "contaminated_rows": len(self.contaminated),
            "benchmark_rows": sum(self.benchmarks.values()),
            "benchmark_rows_met": len(met),
            "unreadable_pictures": self.unreadable_pictures,
            "by_kind": by_kind,
        }


def check_contamination(dataset: Path, benchmarks: Sequence[Path], limits: CheckLimits) -> Contamination:
    """Compares a dataset with benchmarks; nothing is written.

    Raises:
        UserError: A folder is missing, holds nothing to compare, or has a damaged file; or the dataset and a benchmark
            are the same folder; or datasketch is not installed.
    """
    check_minhash("The contamination check")
    for path in benchmarks:
        if path.resolve() == dataset.resolve():
            raise UserError(f"--against {path}: that is the dataset itself. Give another folder.")
    ours = gather(read_shown(dataset))
    findings, sizes, unreadable = [], {}, ours.unreadable
    for path in benchmarks:
        theirs = gather(read_shown(path))
        sizes[str(path)] = theirs.rows
        unreadable += theirs.unreadable
        findings += list(compare(ours, theirs, str(path), limits))
    return Contamination(ours.rows, unreadable, sizes, findings)


def compare(ours: Gallery, theirs: Gallery, benchmark: str, limits: CheckLimits) -> Iterator[Finding]:
    """Yields what two galleries have in common, of the kinds that are asked for."""
    kinds = set(limits.kinds)
    if kinds & {"image_exact", "image_near"}:
        yield from (one for one in _pictures(ours, theirs, benchmark, limits) if one.kind in kinds)
    if kinds & {"text_exact", "text_ngram", "text_minhash"}:
        for match in find_same_texts(ours.texts, theirs.texts, limits.text):
            if match.kind in kinds:
                rows, others = ours.text_rows[match.left], theirs.text_rows[match.right]
                yield Finding(match.kind, match.distance, tuple(rows), benchmark, tuple(others))


def _pictures(ours: Gallery, theirs: Gallery, benchmark: str, limits: CheckLimits) -> Iterator[Finding]:
    def finding(kind: FindingKind, distance: float, one: int, other: int) -> Finding:
        return Finding(kind, distance, tuple(ours.picture_rows[one]), benchmark, tuple(theirs.picture_rows[other]))

    places = {digest: place for place, digest in enumerate(theirs.pictures)}
    equal = {(one, places[digest]) for one, digest in enumerate(ours.pictures) if digest in places}
    yield from (finding("image_exact", 0.0, one, other) for one, other in sorted(equal))
    alike = find_lookalikes(ours.looks, theirs.looks, limits.image_bits)
    for one, other, bits in zip(alike.left.tolist(), alike.right.tolist(), alike.bits.tolist(), strict=True):
        if (one, other) not in equal:
            yield finding("image_near", float(bits), one, other)


def write_report(found: Contamination, dataset: Path, limits: CheckLimits, path: Path) -> None:
    """Writes counts, settings and every finding as JSON.

    Raises:
        RunError: The disk is full or the folder may not be written.
    """
    body = {
        "dataset": str(dataset),
        "benchmarks": found.benchmarks,
        "settings": {"kinds": limits.kinds, "image_bits": limits.image_bits, **limits.text._asdict()},
        "counts": found.counts(),
        "findings": [one._asdict() for one in found.findings],
    }
    write_atomically(path, json.dumps(body, indent=1, ensure_ascii=False).encode() + b"\n")


def parse_kinds(text: str) -> tuple[FindingKind, ...]:
    """Returns the kinds that a comma-separated list names.

    Raises:
        UserError: One is unknown.
    """
    named = [one.strip() for one in text.split(",")]
    unknown = [one for one in named if one not in KINDS]
    if unknown:
        raise UserError(f"--kinds {text}: '{unknown[0]}' is none of {', '.join(KINDS)}. Name one or more of these.")
    return tuple(kind for kind in KINDS if kind in named)
