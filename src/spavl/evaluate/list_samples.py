"""The listing station: rows of public benchmarks become samples, their pictures go to the store.

A row that cannot be asked is counted with its reason, and so is one that stands there twice. It downloads nothing and
asks no model.
"""

import functools
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict

from spavl.errors import UserError
from spavl.evaluate.benchmarks import BENCHMARKS, Benchmark, Listed, Unusable
from spavl.evaluate.benchmarks.rows import writable
from spavl.evaluate.circular import missing_orders
from spavl.evaluate.pictures import StandIn, stand_in
from spavl.evaluation_config import BenchmarkConfig
from spavl.execution.progress import progress_bar
from spavl.models.ask import outcome
from spavl.records import Failure, Sample
from spavl.store import ImageStore, Manifest, Outcome, StageDirectory, UnreadableImage

BLANK_BY_DEFAULT = ("advbench",)
"""Benchmarks without pictures that SPA-VL shows a blank one with."""
T = TypeVar("T")
Add = Callable[[Path | bytes], str]
BYTES_KEPT = 4
"""Pictures from tables whose digests are remembered; rows about one picture stand side by side."""
FIXTURE = "FIXTURE"
"""A file of this name in a benchmark's folder says that its rows are made up."""


class Source(NamedTuple):
    """A benchmark that is asked, and where its files lie."""

    benchmark: Benchmark
    folder: Path
    config: BenchmarkConfig

    @property
    def variants(self) -> tuple[str, ...]:
        """The variants that are asked."""
        return self.benchmark.card.variants if self.config.variants is None else self.config.variants

    @property
    def fixture(self) -> bool:
        """Whether its rows are made up."""
        return self.config.fixture or (self.folder / FIXTURE).exists()

    @property
    def published(self) -> int | None:
        """How many rows the variants that are asked have as published; None where nobody says exactly."""
        return self.benchmark.card.published(self.variants)

    def rows(self) -> Iterator[Listed | Unusable]:
        """Yields every row of the variants that are asked.

        Raises:
            UserError: The files are missing or damaged.
        """
        return map(writable, self.benchmark.read(self.folder, self.variants))


Origin = Literal["real", "folder", "fixture"]
"""A package's or the hub's files; a folder of one's own, which nobody has marked as made up; rows that are."""


class Coverage(BaseModel):
    """What became of a benchmark's rows."""

    model_config = ConfigDict(frozen=True)

    listed: int
    """Rows of the variants that are asked."""
    asked: int
    """Rows within the limit."""
    samples: int
    pictures: int
    """Samples with a picture of their own."""
    skipped: dict[str, int]
    """Reason -> rows that are no sample."""
    missing_orders: int = 0
    """Of a circular benchmark: questions of which some order is no sample, so that they are in no circular figure."""
    published: int | None = None
    """Rows that these variants have as published; None where nobody says exactly."""
    fixture: bool
    own_folder: bool = False
    """Whether the rows lie in a folder that the recipe names, so that nobody but it says what they are."""

    @property
    def origin(self) -> Origin:
        """Where the rows come from."""
        return "fixture" if self.fixture else "folder" if self.own_folder else "real"

    @property
    def left_out(self) -> dict[str, int]:
        """Reason -> rows that are no sample, and under `missing_order` questions that lack one."""
        return self.skipped | ({"missing_order": self.missing_orders} if self.missing_orders else {})


def of_published(listed: int, published: int | None) -> str:
    """Says how many rows there should be, where there are not just these; empty where nothing is to be said."""
    return "" if published in (None, listed) else f" of the {published:,} rows that the benchmark has"


def find_benchmark(field: str, config: BenchmarkConfig) -> Benchmark:
    """Returns the benchmark of that name.

    Raises:
        UserError: There is none, or it lacks a variant.
    """
    known = {one.card.name: one for one in BENCHMARKS}
    if config.name not in known:
        raise UserError(
            f"{field}.name: there is no benchmark '{config.name}'; choose one of {', '.join(sorted(known))}."
        )
    variants = known[config.name].card.variants
    for one in config.variants or ():
        if one not in variants:
            there = f"its variants are {', '.join(variants)}" if variants else "it has none; leave the field out"
            raise UserError(f"{field}.variants: {config.name} has no variant '{one}'; {there}.")
    return known[config.name]


def list_samples(sources: Sequence[Source], pictures: ImageStore, seed: int, stage: StageDirectory) -> Manifest:
    """Runs the station: every row within the limits, benchmark by benchmark, rows about one picture side by side.

    Raises:
        UserError: Files are missing or damaged, or no row of a benchmark can be asked; every such benchmark is named.
        RunError: The disk is full.
    """
    outcomes: list[Outcome] = []
    coverage: dict[str, Coverage] = {}

    def read(source: Source) -> None:
        listed, found = read_samples(source, pictures, seed)
        samples = [one.record for one in found if isinstance(one.record, Sample)]
        coverage[source.config.name] = Coverage(
            listed=listed,
            asked=len(found),
            samples=len(samples),
            pictures=sum(bool(one.own_picture) for one in samples),
            skipped=dict(sorted(Counter(one.failure.reason for one in found if one.failure).items())),
            published=source.published,
            missing_orders=missing_orders(samples) if source.benchmark.card.circular else 0,
            fixture=source.fixture,
            own_folder=source.config.path is not None and Path(source.config.path).expanduser().is_dir(),
        )
        _check_asked(source, coverage[source.config.name])
        outcomes.extend(found)

    for_each(sources, read)
    pending = set(stage.pending(one.item for one in outcomes))
    stage.append([one for one in outcomes if one.item in pending])
    return stage.finish(
        [one.item for one in outcomes], {"coverage": {name: one.model_dump() for name, one in coverage.items()}}
    )


def for_each(sources: Sequence[Source], read: Callable[[Source], T]) -> dict[str, T]:
    """Returns benchmark -> what reading it gave.

    Raises:
        UserError: Some cannot be read; all of these are named.
    """
    done: dict[str, T] = {}
    wrong: list[str] = []
    for source in sources:
        name = source.config.name
        try:
            done[name] = read(source)
        except UserError as error:
            wrong.append(f"{name}: {str(error).removeprefix(f'{name}: ')}")
    if wrong:
        several = f"{len(wrong)} of {len(sources)} benchmarks cannot be read. " if len(wrong) > 1 else ""
        raise UserError(several + " ".join(wrong))
    return done


def _check_asked(source: Source, coverage: Coverage) -> None:
    if not coverage.samples:
        why = ", ".join(f"{reason} {count}" for reason, count in coverage.skipped.items()) or "it lists none"
        raise UserError(
            f"{source.config.name}: none of {coverage.asked} rows in {source.folder} can be asked ({why}). "
            "Complete its files, or leave the benchmark out."
        )


def read_samples(source: Source, pictures: ImageStore, seed: int) -> tuple[int, list[Outcome]]:
    """Returns how many rows a benchmark has, and the outcome of each within the limit; pictures go to the store.

    Raises:
        UserError: The benchmark's files are missing or damaged.
        RunError: The disk is full.
    """
    listed, kept = _within_limit(source, seed)
    found = []
    with progress_bar(f"samples: {source.config.name}", listed if kept is None else len(kept)) as advance:
        for one in _outcomes(source, kept, pictures, seed):
            found.append(one)
            advance(1)
    return listed, found


def _within_limit(source: Source, seed: int) -> tuple[int, set[int] | None]:
    """Returns the number of rows, and the places of those within the limit; None for all.

    Variants of one question come first together, so that they stay comparable; where a question counts in all its
    orders, these are taken as one.
    """
    config, circular = source.config, source.benchmark.card.circular
    groups: dict[tuple[str, str], list[tuple[str, int]]] = {}
    rows = 0
    for place, row in enumerate(source.rows()):
        rows += 1
        group, name = (
            (("" if circular else row.subset, row.category), row.cluster or row.row)
            if isinstance(row, Listed)
            else (("", ""), row.row)
        )
        groups.setdefault(group, []).append((hashlib.sha256(f"{seed}/{name}".encode()).hexdigest(), place))
    if config.limit is None or rows <= config.limit:
        return rows, None
    turns = [place for turn in zip_longest(*map(sorted, groups.values())) for place in turn if place is not None]
    return rows, {place for _, place in turns[: config.limit]}


def _outcomes(source: Source, kept: set[int] | None, pictures: ImageStore, seed: int) -> Iterator[Outcome]:
    """Yields each row's outcome; items are named by benchmark and row."""
    names: Counter[str] = Counter()
    first: dict[str, str] = {}
    add = _adding_once(pictures)
    for row in (row for place, row in enumerate(source.rows()) if kept is None or place in kept):
        names[row.row] += 1
        item = f"{source.config.name}/{row.row}"
        if names[row.row] > 1:
            message = f"row {row.row} stands there {names[row.row]} times"
            yield Outcome(f"{item}#{names[row.row]}", failure=Failure(reason="duplicate_row", message=message))
            continue
        made = row.failure if isinstance(row, Unusable) else _sample(source, row, add, seed)
        if isinstance(made, Sample) and made.id in first:
            made = Failure(reason="duplicate_row", message=f"the same picture and question as row {first[made.id]}")
        elif isinstance(made, Sample):
            first[made.id] = row.row
        yield outcome(item, made)


def _adding_once(pictures: ImageStore) -> Add:
    """Returns what puts a picture into the store and gives its digest; one file is decoded once for all its rows."""
    from_file = functools.cache(lambda picture: pictures.add(picture).sha256)
    from_bytes = functools.lru_cache(BYTES_KEPT)(lambda picture: pictures.add(picture).sha256)
    return lambda picture: from_file(picture) if isinstance(picture, Path) else from_bytes(picture)


def _sample(source: Source, row: Listed, add: Add, seed: int) -> Sample | Failure:
    if not row.prompt.strip():
        return Failure(reason="no_question", message="the row asks nothing")
    shown: tuple[str, StandIn]
    try:
        shown = _shown(source, row, add, seed)
    except UnreadableImage as error:
        return Failure(reason=error.reason, message=str(error))
    except OSError as error:
        return Failure(reason="unreadable", message=f"the picture cannot be read: {error.strerror or error}")
    described = row._asdict()
    return Sample(
        benchmark=source.config.name,
        image_id=shown[0],
        stand_in=shown[1],
        **{name: described[name] for name in described if name != "picture"},
    )


def _shown(source: Source, row: Listed, add: Add, seed: int) -> tuple[str, StandIn]:
    """Returns the digest of what is shown, and what kind of stand-in it is, if it is one."""
    policy = source.config.picture or ("blank" if source.config.name in BLANK_BY_DEFAULT else "given")
    if policy == "none":
        return "", ""
    if row.picture is not None:
        return add(row.picture), ""
    if policy == "given":
        return "", ""
    return add(stand_in(policy, seed)), policy
