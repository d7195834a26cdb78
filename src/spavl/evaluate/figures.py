"""Everything an evaluation recipe comes to, as one value: `results.json`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from spavl.evaluate.agreement import JudgesAgreement, judges_agreement
from spavl.evaluate.benchmarks import BenchmarkCard
from spavl.evaluate.contests import ContestResult
from spavl.evaluate.imported import ImportedMeasure, ImportedScores, imported_measures
from spavl.evaluate.judge_trust import LabelledPairs, Trust, judge_errors, trust_in
from spavl.evaluate.list_samples import Coverage, Origin
from spavl.evaluate.measures import (
    Measures,
    ModelChange,
    ModelFigure,
    Part,
    Rules,
    measure_all,
    model_change,
    model_figure,
    subset_parts,
    whole_parts,
)
from spavl.evaluate.outcomes import Readings
from spavl.evaluate.win_figures import WinFigures, win_figures
from spavl.evaluate.yes_no import YesNoMeasure, yes_no_measure
from spavl.evaluation_config import Ablation, ErrorBoxConfig
from spavl.judges.base import JudgeCard
from spavl.records import Sample


class AblationFigure(BaseModel):
    """One model on one benchmark without its samples' own pictures."""

    model_config = ConfigDict(frozen=True)

    benchmark: str
    metric: str
    model: str
    ablation: Ablation
    figure: ModelFigure
    against_pictures: ModelChange
    """Against the same model's answers to the pictures."""


class JudgeFigures(BaseModel):
    """What one judge's verdicts come to."""

    model_config = ConfigDict(frozen=True)

    card: JudgeCard
    unfinished: str | None
    """Why its failures are asked again by the same command: it was out of reach too often, or gave no verdict. None
    where it is through."""
    measures: Measures
    ablations: tuple[AblationFigure, ...]


class Contaminated(BaseModel):
    """Samples that the training data has too, and the figures without them."""

    model_config = ConfigDict(frozen=True)

    training: str
    samples: dict[str, int]
    """Benchmark -> samples that were met."""
    by_kind: dict[str, dict[str, int]]
    """Kind of finding that was looked for -> the same; a sample may be met in several ways."""
    texts: int
    pictures: int
    """Different ones of the data that the samples were compared with."""
    clean: Measures
    """By the deciding judge."""


class EvaluationFigures(BaseModel):
    """Every figure of an evaluation recipe."""

    model_config = ConfigDict(frozen=True)

    data_origin: dict[str, Origin]
    """Benchmark -> where its rows come from."""
    baseline: str
    models: tuple[str, ...]
    silent: dict[str, str] = {}
    """Model that was of no use -> why; what it owes is counted as failed, and the same command asks it again."""
    deciding: str
    confidence: float
    coverage: dict[str, Coverage]
    judges: dict[str, JudgeFigures]
    """The deciding one first."""
    trust: tuple[Trust, ...]
    """What the deciding judge's errors may do to its changes."""
    wins: tuple[WinFigures, ...]
    yes_no: tuple[YesNoMeasure, ...]
    """Yes-or-no benchmarks and their subsets; they need no judge."""
    agreement: JudgesAgreement | None
    contamination: Contaminated | None
    imported: tuple[ImportedMeasure, ...]
    """What other harnesses measured."""
    related: dict[str, tuple[str, ...]]
    """Judge -> what it, or its model, did for the training data."""


class Met(NamedTuple):
    """Samples that training data has too."""

    training: str
    """The data, as it was given."""
    kinds: Mapping[str, frozenset[str]]
    """Kind of finding, such as `image_near`, of those that were looked for -> ids."""
    texts: int
    pictures: int
    """Different ones of the data that they were compared with."""

    @property
    def samples(self) -> frozenset[str]:
        """Ids, whatever the kind."""
        return frozenset[str]().union(*self.kinds.values())


class Material(NamedTuple):
    """What the figures are made of."""

    cards: Mapping[str, BenchmarkCard]
    samples: Sequence[Sample]
    coverage: Mapping[str, Coverage]
    ablations: Mapping[Ablation, Sequence[Sample]]
    """Ablation -> the samples that were asked with it."""
    readings: Mapping[str, Readings]
    """Judge -> readings, the deciding one first."""
    judge_cards: Mapping[str, JudgeCard]
    unfinished: Mapping[str, str]
    """Judge -> why it is not through."""
    silent: Mapping[str, str]
    """Model that was of no use -> why."""
    contests: Mapping[str, Sequence[ContestResult]]
    """Compared model -> contests against the baseline."""
    people: LabelledPairs
    box: ErrorBoxConfig | None
    met: Met | None
    imported: Sequence[ImportedScores]
    related: Mapping[str, tuple[str, ...]]


def evaluation_figures(material: Material, models: Sequence[str], rules: Rules) -> EvaluationFigures:
    """Computes every figure."""
    deciding = next(iter(material.readings))
    return EvaluationFigures(
        data_origin={name: one.origin for name, one in material.coverage.items()},
        baseline=rules.baseline,
        models=tuple(models),
        silent=dict(material.silent),
        deciding=deciding,
        confidence=rules.confidence,
        coverage=dict(material.coverage),
        judges={name: _judge(material, name, models, rules) for name in material.readings},
        trust=tuple(_trust(material, models, rules)),
        wins=tuple(_wins(material, rules)),
        yes_no=tuple(_yes_no(material, models, rules)),
        agreement=judges_agreement(material.samples, material.readings, models),
        contamination=_contaminated(material, models, rules),
        imported=imported_measures(material.imported, rules),
        related=dict(material.related),
    )


def _judge(material: Material, judge: str, models: Sequence[str], rules: Rules) -> JudgeFigures:
    readings, card = material.readings[judge], material.judge_cards[judge]
    ablations = [
        _ablation(part, readings, model, ablation, rules)
        for ablation, asked in material.ablations.items()
        for part in whole_parts(material.cards, asked)
        for model in models
    ]
    return JudgeFigures(
        card=card,
        unfinished=material.unfinished.get(judge),
        measures=measure_all(material.cards, material.samples, readings, models, rules),
        ablations=tuple(ablations),
    )


def _trust(material: Material, models: Sequence[str], rules: Rules) -> list[Trust]:
    deciding, readings = next(iter(material.readings.items()))
    card = material.judge_cards[deciding]
    return [
        trust_in(
            part,
            readings,
            (rules.baseline, model),
            rules,
            judge_errors(card, part.metric, material.box),
            material.people,
        )
        for part in whole_parts(material.cards, material.samples)
        if part.metric in ("unsafe", "refused")
        for model in models
        if model != rules.baseline
    ]


def _ablation(part: Part, readings: Readings, model: str, ablation: Ablation, rules: Rules) -> AblationFigure:
    other = f"{model}/{ablation}"
    return AblationFigure(
        benchmark=part.card.name,
        metric=part.metric,
        model=model,
        ablation=ablation,
        figure=model_figure(part.samples, readings, other, rules),
        against_pictures=model_change(part, readings, (model, other), rules),
    )


def _wins(material: Material, rules: Rules) -> list[WinFigures]:
    readings = next(iter(material.readings.values()))
    return [
        win_figures(part, model, contests, readings, rules)
        for model, contests in material.contests.items()
        for part in whole_parts(material.cards, material.samples)
        if part.card.kind == "helpfulness"
    ]


def _yes_no(material: Material, models: Sequence[str], rules: Rules) -> list[YesNoMeasure]:
    readings = next(iter(material.readings.values()))
    return [
        yes_no_measure(piece, readings, models, rules)
        for part in whole_parts(material.cards, material.samples)
        if part.card.scoring == "yes_no"
        for piece in subset_parts(part)
    ]


def _contaminated(material: Material, models: Sequence[str], rules: Rules) -> Contaminated | None:
    if material.met is None:
        return None
    clean = [sample for sample in material.samples if sample.id not in material.met.samples]
    return Contaminated(
        training=material.met.training,
        samples=dict(Counter(one.benchmark for one in material.samples if one.id in material.met.samples)),
        by_kind={
            kind: dict(Counter(one.benchmark for one in material.samples if one.id in met))
            for kind, met in material.met.kinds.items()
        },
        texts=material.met.texts,
        pictures=material.met.pictures,
        clean=measure_all(material.cards, clean, next(iter(material.readings.values())), models, rules),
    )
