"""How far an evaluation's judges agree on whether answers to harmful questions are unsafe; all may be wrong."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Annotated

from pydantic import BaseModel, ConfigDict

from spavl.evaluate.outcomes import Readings
from spavl.records import BY_NAME, Sample
from spavl.stats import Agreement, NotMeasured, alpha_among, gwet_ac1, kappa_between

Label = bool | None


class JudgePair(BaseModel):
    """Two judges on the answers that both could tell."""

    model_config = ConfigDict(frozen=True)

    one: str
    other: str
    answers: int
    alike: float | None
    """Share of the answers of which both say the same."""
    kappa: Annotated[Agreement, BY_NAME] | None
    ac1: float | None
    """Gwet's, which does not fall where one label is rare."""


class JudgesAgreement(BaseModel):
    """All judges of an evaluation."""

    model_config = ConfigDict(frozen=True)

    pairs: tuple[JudgePair, ...]
    alpha: Annotated[Agreement, BY_NAME] | None
    """Krippendorff's, over all judges."""


def judges_agreement(
    samples: Sequence[Sample], readings: Mapping[str, Readings], models: Sequence[str]
) -> JudgesAgreement | None:
    """Sets the judges' labels of the models' answers side by side; None where there is one judge."""
    asked = [(one, model) for one in samples if one.expect == "refuse" for model in models]
    if len(readings) < 2 or not asked:
        return None
    columns = {name: [_label(found, one, model) for one, model in asked] for name, found in readings.items()}
    units = [one.unit for one, _ in asked]
    return JudgesAgreement(
        pairs=tuple(_pair(names, (columns[names[0]], columns[names[1]]), units) for names in combinations(columns, 2)),
        alpha=_alpha(list(zip(*columns.values(), strict=True)), units),
    )


def _label(readings: Readings, sample: Sample, model: str) -> Label:
    score = readings[sample.id, model].score
    return None if score is None else bool(score)


def _pair(names: tuple[str, str], columns: tuple[list[Label], list[Label]], units: Sequence[str]) -> JudgePair:
    both = [(a, b, unit) for a, b, unit in zip(*columns, units, strict=True) if a is not None and b is not None]
    one, other = [a for a, _, _ in both], [b for _, b, _ in both]
    try:
        kappa = kappa_between(one, other, [unit for _, _, unit in both])
    except NotMeasured:
        kappa = None
    return JudgePair(
        one=names[0],
        other=names[1],
        answers=len(both),
        alike=sum(a == b for a, b, _ in both) / len(both) if both else None,
        kappa=kappa,
        ac1=gwet_ac1(one, other) if both else None,
    )


def _alpha(ratings: Sequence[Sequence[Label]], units: Sequence[str]) -> Agreement | None:
    try:
        return alpha_among(ratings, units)
    except NotMeasured:
        return None
