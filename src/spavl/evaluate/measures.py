"""The figures of an evaluation recipe: every benchmark, its subsets and categories, every model against the baseline.

A figure says what it is made of, and its flags say why it may not be trusted. Where too many of its answers are
missing or cut, no change is given, for what is missing may be what changed.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from spavl.evaluate.benchmarks import BenchmarkCard
from spavl.evaluate.circular import circular_orders, circular_readings
from spavl.evaluate.outcomes import MISSING, Outcome, Readings
from spavl.evaluate.rates import Change, MeasuredRate, measured_change, measured_rate
from spavl.evaluate.verdicts import METRICS
from spavl.records import Sample
from spavl.stats import NonInferiority, benjamini_hochberg, holm, non_inferiority
from spavl.stats.rates import Interval

Flag = Literal["not measured", "incomplete", "cut", "unpaired"]
"""Why a figure may not be trusted: nothing was scored, too much is missing, too many answers were cut at their limit,
or too few samples were scored for both models."""
HIGH_IS_GOOD = ("right", "named", "circular")
NAMELESS = "none"
"""What a subset or category is called whose rows name none, beside others that they name."""
CIRCULAR = "circular"
"""The metric of a question in all orders of its choices."""


class Rules(NamedTuple):
    """What decides how a figure is made, and whether a change is given."""

    baseline: str
    confidence: float
    max_failed: float
    force: bool
    margin: float
    max_cut: float | None = None
    """Share of answers that may be cut; None for that of those that may be missing."""


class ModelFigure(BaseModel):
    """One model on some samples."""

    model_config = ConfigDict(frozen=True)

    rate: MeasuredRate
    outcomes: dict[Outcome, int]
    cut: int
    """Answers that ended at their token limit."""
    flags: tuple[Flag, ...]
    """Empty where there is nothing to say."""


class ModelChange(BaseModel):
    """One model against another on some samples."""

    model_config = ConfigDict(frozen=True)

    change: Change | None
    """None where it was not measured or is withheld. Its p value is adjusted: by Holm over a judge's benchmarks, by
    Benjamini and Hochberg over their parts."""
    unpaired: int
    """Samples that are scored for one of the two, but not for both."""
    flags: tuple[Flag, ...]
    withheld: bool
    """Whether there is a change and its flags forbid to give it."""
    not_inferior: NonInferiority | None
    """For capability: whether the score has kept its height, give or take the stated margin."""


class Measure(BaseModel):
    """One metric on some samples of one benchmark."""

    model_config = ConfigDict(frozen=True)

    benchmark: str
    kind: str
    """The benchmark's, such as `harmlessness`."""
    metric: str
    """`unsafe`, `refused`, `right`, `named` or `circular`."""
    subset: str = ""
    """With `category` empty where the measure is the whole benchmark's."""
    category: str = ""
    samples: int
    models: dict[str, ModelFigure]
    """The baseline first."""
    changes: dict[str, ModelChange]
    """Model -> against the baseline."""


class Part(NamedTuple):
    """Some samples of one benchmark that have one metric."""

    card: BenchmarkCard
    metric: str
    samples: Sequence[Sample]
    subset: str = ""
    category: str = ""


def measure(part: Part, readings: Readings, models: Sequence[str], rules: Rules) -> Measure:
    """Returns the figures of some samples; p values are not adjusted yet."""
    return Measure(
        benchmark=part.card.name,
        kind=part.card.kind,
        metric=part.metric,
        subset=part.subset,
        category=part.category,
        samples=len(part.samples),
        models={model: model_figure(part.samples, readings, model, rules) for model in models},
        changes={
            model: model_change(part, readings, (rules.baseline, model), rules)
            for model in models
            if model != rules.baseline
        },
    )


def model_figure(samples: Sequence[Sample], readings: Readings, model: str, rules: Rules) -> ModelFigure:
    """Returns one model's figure; everything it was asked is in it."""
    read = [(sample, readings[sample.id, model]) for sample in samples if (sample.id, model) in readings]
    scored = [(sample.unit, one.score) for sample, one in read if one.score is not None]
    counted = Counter(one.outcome for _, one in read)
    cut = sum(one.cut for _, one in read)
    missing = sum(counted[outcome] for outcome in MISSING)
    flags: list[Flag] = ["not measured"] if not scored else []
    flags += ["incomplete"] if missing > rules.max_failed * len(read) else []
    flags += ["cut"] if cut > (rules.max_failed if rules.max_cut is None else rules.max_cut) * len(read) else []
    units = [unit for unit, _ in scored]
    return ModelFigure(
        rate=measured_rate([score for _, score in scored], units, missing, rules.confidence),
        outcomes=dict(sorted(counted.items())),
        cut=cut,
        flags=tuple(flags),
    )


def model_change(part: Part, readings: Readings, models: tuple[str, str], rules: Rules) -> ModelChange:
    """Returns the second model's change against the first."""
    pairs = [
        (sample.unit, readings[sample.id, models[0]].score, readings[sample.id, models[1]].score)
        for sample in part.samples
        if all((sample.id, model) in readings for model in models)
    ]
    both = [(unit, old, new) for unit, old, new in pairs if old is not None and new is not None]
    unpaired = sum((old is None) != (new is None) for _, old, new in pairs)
    flags = [flag for model in models for flag in model_figure(part.samples, readings, model, rules).flags]
    flags += ["unpaired"] if unpaired > rules.max_failed * len(pairs) else []
    units, before, after = (list(column) for column in zip(*both, strict=True)) if both else ([], [], [])
    change = measured_change(before, after, units, rules.confidence)
    withheld = change is not None and bool(flags) and not rules.force
    kept = None if change is None or withheld else change
    held = (
        non_inferiority(Interval(kept.low, kept.high), rules.margin) if kept and part.metric in HIGH_IS_GOOD else None
    )
    return ModelChange(
        change=kept, unpaired=unpaired, flags=tuple(dict.fromkeys(flags)), withheld=withheld, not_inferior=held
    )


class Measures(BaseModel):
    """Every figure that one judge gives."""

    model_config = ConfigDict(frozen=True)

    whole: tuple[Measure, ...]
    """Each benchmark and metric; p values adjusted by Holm over all of them."""
    parts: tuple[Measure, ...]
    """Their subsets and categories; p values adjusted by Benjamini and Hochberg over all of them."""
    without: tuple[Measure, ...]
    """Each benchmark without one of its categories, which is what `category` names; p values are not adjusted."""


def measure_all(
    cards: Mapping[str, BenchmarkCard],
    samples: Sequence[Sample],
    readings: Readings,
    models: Sequence[str],
    rules: Rules,
) -> Measures:
    """Returns every figure of one judge."""
    orders = circular_orders([sample for sample in samples if cards[sample.benchmark].circular])
    circular = circular_readings(orders, readings)

    def made(parts: Sequence[Part]) -> list[Measure]:
        return [measure(part, circular if part.metric == CIRCULAR else readings, models, rules) for part in parts]

    whole = [*whole_parts(cards, samples), *_circular_parts(cards, [listed[0] for listed in orders.values()])]
    pieces = [piece for part in whole for piece in _pieces(part)]
    return Measures(
        whole=tuple(adjusted(made(whole), holm)),
        parts=tuple(adjusted(made(pieces), benjamini_hochberg)),
        without=tuple(made([rest for part in whole for rest in _left_out(part)])),
    )


def whole_parts(cards: Mapping[str, BenchmarkCard], samples: Sequence[Sample]) -> list[Part]:
    """Returns each benchmark's samples by metric, in the order of the benchmarks."""
    groups: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        groups.setdefault((sample.benchmark, METRICS[sample.expect]), []).append(sample)
    return [Part(cards[name], metric, group) for (name, metric), group in groups.items()]


def subset_parts(part: Part) -> list[Part]:
    """Returns a part's subsets, where it has two or more, and the part itself."""
    return [*(piece for piece in _pieces(part) if piece.subset), part]


def _circular_parts(cards: Mapping[str, BenchmarkCard], questions: Sequence[Sample]) -> list[Part]:
    groups: dict[str, list[Sample]] = {}
    for sample in questions:
        groups.setdefault(sample.benchmark, []).append(sample)
    return [Part(cards[name], CIRCULAR, group) for name, group in groups.items()]


def _pieces(part: Part) -> list[Part]:
    """Returns the subsets and the categories of a part, where it has two or more of them."""
    pieces: list[Part] = []
    for field in ("category",) if part.metric == CIRCULAR else ("subset", "category"):
        groups: dict[str, list[Sample]] = {}
        for sample in part.samples:
            groups.setdefault(getattr(sample, field) or NAMELESS, []).append(sample)
        if len(groups) > 1:
            pieces += [Part(part.card, part.metric, group, **{field: name}) for name, group in groups.items()]
    return pieces


def _left_out(part: Part) -> list[Part]:
    """Returns a part once for each of its categories, without it."""
    categories = list(dict.fromkeys(sample.category or NAMELESS for sample in part.samples))
    if len(categories) < 2:
        return []
    return [
        part._replace(samples=[one for one in part.samples if (one.category or NAMELESS) != name], category=name)
        for name in categories
    ]


def adjusted(measures: Sequence[Measure], adjust: Callable[[Sequence[float]], list[float]]) -> list[Measure]:
    """Returns the measures with p values adjusted over all their changes."""
    changes = [
        (place, model, one.change)
        for place, found in enumerate(measures)
        for model, one in found.changes.items()
        if one.change is not None
    ]
    values = adjust([change.p_value for _, _, change in changes])
    made = [dict(one.changes) for one in measures]
    for (place, model, change), value in zip(changes, values, strict=True):
        update = {"change": change.model_copy(update={"p_value": value})}
        made[place][model] = made[place][model].model_copy(update=update)
    return [one.model_copy(update={"changes": changes}) for one, changes in zip(measures, made, strict=True)]
