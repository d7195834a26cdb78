"""What a public benchmark is to us: a card that says where it comes from, and a reader of its documented layout.

A reader lists every row of its files, as something to ask or as a failure with its reason, so that rows listed =
samples + failures. It asks no model, decodes no picture and downloads nothing.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple

from spavl.records import Expectation, Failure

BenchmarkKind = Literal["harmlessness", "over_refusal", "helpfulness", "capability"]
Scoring = Literal["judged", "choice", "yes_no", "exact", "vqa"]
"""How an answer is scored: by a judge, or by one of the rules in `evaluate/scoring.py`."""


class Listed(NamedTuple):
    """One row of a benchmark, before its picture is stored."""

    row: str
    """What the row is called in the benchmark: its file and number, or its own id. Unique within the benchmark."""
    prompt: str
    expect: Expectation
    picture: Path | bytes | None = None
    """None for a question without a picture."""
    subset: str = ""
    """Variant, attack or split: `sd_typo`, `suffix`, `unsafe_image`."""
    category: str = ""
    """The benchmark's own category."""
    cluster: str = ""
    """What rows share that are variants of one another: the base question's id. Empty where the picture is shared, or
    nothing."""
    references: tuple[str, ...] = ()
    """Accepted answers, where there are any."""
    choices: tuple[str, ...] = ()
    """Offered answers of a multiple-choice question, in order; `references` then holds the right one's letter."""
    note: str = ""
    """What a judge has to know beside question and answer: a safety warning, a reference answer, a redacted description
    of the picture."""


class Unusable(NamedTuple):
    """A row that cannot be asked, and why."""

    row: str
    failure: Failure


class BenchmarkCard(NamedTuple):
    """Where a benchmark comes from, what it measures, and what may be done with it."""

    name: str
    kind: BenchmarkKind
    title: str
    """As its authors call it."""
    source: str
    """Repository or hub id."""
    revision: str
    """Commit or version that the layout was read at; empty where nobody says."""
    licence: str
    """As its source says; `not stated` where it does not."""
    size: str
    """Rows, as published, in words."""
    metric: str
    """What is reported, and by whose definition."""
    layout: str
    """Files and fields that are read."""
    scoring: Scoring = "judged"
    variants: tuple[str, ...] = ()
    """Subsets that can be asked for; empty where there are none."""
    circular: bool = False
    """Whether its questions are asked in every order of their choices, and count as right where all are."""
    gated: bool = False
    """Whether its files are behind a form."""
    rows: Mapping[str, int] = MappingProxyType({})
    """Variant -> its rows, as published; under an empty name where there are no variants. Empty where nobody says
    exactly."""

    def published(self, variants: tuple[str, ...]) -> int | None:
        """Returns how many rows some variants have, as published; None where nobody says exactly."""
        names = variants or ("",)
        return sum(self.rows[one] for one in names) if self.rows.keys() >= set(names) else None


Rows = Iterator[Listed | Unusable]


class Benchmark(NamedTuple):
    """A benchmark that can be read."""

    card: BenchmarkCard
    read: Callable[[Path, tuple[str, ...]], Rows]
    """(folder, variants) -> its rows; raises `UserError` where the folder is none of this benchmark."""
