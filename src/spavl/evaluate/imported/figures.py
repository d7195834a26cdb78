"""Figures of imported scores: by our statistics where there are rows, else the harness's own, without an interval."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict

from spavl.evaluate.benchmarks.base import BenchmarkCard
from spavl.evaluate.imported.scores import ImportedFile, ImportedRow, ImportedScores, Reported
from spavl.evaluate.measures import Measure, Part, Rules, adjusted, measure
from spavl.evaluate.outcomes import Reading, Readings
from spavl.records import BY_NAME, Sample
from spavl.stats import holm

NOT_THERE = Reading("answer_failed", None, False, 0)
"""A row that the files of another model have."""


class ImportedMeasure(BaseModel):
    """What another harness measured of the models on one benchmark."""

    model_config = ConfigDict(frozen=True)

    harness: str
    benchmark: str
    """As the harness calls it."""
    metric: str
    """The same."""
    reported: dict[str, Annotated[Reported, BY_NAME]]
    """Model -> the harness's own figure, where it was given."""
    files: dict[str, tuple[Annotated[ImportedFile, BY_NAME], ...]]
    """Model -> what was read."""
    measure: Measure | None
    """Worked out from the rows of the models that have them; None where none has. p values are adjusted by Holm over
    all that is imported."""


def imported_measures(scores: Sequence[ImportedScores], rules: Rules) -> tuple[ImportedMeasure, ...]:
    """Returns the figures, benchmark by benchmark."""
    groups: dict[tuple[str, str, str], list[ImportedScores]] = {}
    for one in scores:
        groups.setdefault((one.config.harness, one.config.benchmark, one.metric), []).append(one)
    measured = {key: found for key, group in groups.items() if (found := _measure(key, group, rules))}
    made = dict(zip(measured, adjusted(list(measured.values()), holm), strict=True))
    return tuple(
        ImportedMeasure(
            harness=key[0],
            benchmark=key[1],
            metric=key[2],
            reported={one.config.model: one.reported for one in group if one.reported is not None},
            files={one.config.model: one.files for one in group},
            measure=made.get(key),
        )
        for key, group in groups.items()
    )


def _measure(key: tuple[str, str, str], group: Sequence[ImportedScores], rules: Rules) -> Measure | None:
    harness, benchmark, metric = key
    rows = {one.config.model: {row.row: row for row in one.rows} for one in group if one.rows is not None}
    if not rows:
        return None
    units = {name: row.unit for by_name in rows.values() for name, row in by_name.items()}
    samples = {name: _sample(f"{harness}:{benchmark}", name, unit) for name, unit in units.items()}
    card = BenchmarkCard(benchmark, "capability", benchmark, harness, "", "", "", metric, "")
    models = sorted(rows, key=lambda model: model != rules.baseline)
    return measure(Part(card, "right", list(samples.values())), _readings(samples, rows), models, rules)


def _sample(benchmark: str, row: str, unit: str) -> Sample:
    return Sample(benchmark=benchmark, image_id="", prompt=row, expect="answer", cluster=unit)


def _readings(samples: Mapping[str, Sample], rows: Mapping[str, Mapping[str, ImportedRow]]) -> Readings:
    """Returns a reading for every row of any model, of every model: what one lacks is missing."""
    return {
        (sample.id, model): _reading(by_name.get(name))
        for model, by_name in rows.items()
        for name, sample in samples.items()
    }


def _reading(row: ImportedRow | None) -> Reading:
    return NOT_THERE if row is None else Reading(row.outcome, row.score, False, 0)
