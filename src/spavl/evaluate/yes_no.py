"""What a yes-or-no benchmark such as POPE publishes beside accuracy: precision, recall, F1, and the share of yes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from spavl.evaluate.measures import Part, Rules, model_change
from spavl.evaluate.outcomes import Readings
from spavl.records import BY_NAME, Sample
from spavl.stats import NotMeasured, Rate, RatioChange, cluster_bootstrap_ratio, ratio_change
from spavl.stats.bootstrap import Resampling

YesNoFigure = Literal["accuracy", "precision", "recall", "f1", "yes_share"]


class Said(NamedTuple):
    """One answer that says yes or no."""

    right: bool
    """Whether yes would be right."""
    said: bool
    """Whether it says yes."""


FIGURES: Mapping[YesNoFigure, Callable[[Said], tuple[float, float]]] = {
    "accuracy": lambda one: (one.right == one.said, 1),
    "precision": lambda one: (one.right and one.said, one.said),
    "recall": lambda one: (one.right and one.said, one.right),
    "f1": lambda one: (2 * (one.right and one.said), one.right + one.said),
    "yes_share": lambda one: (one.said, 1),
}
"""Figure -> what an answer adds above and below the line (arXiv 2305.10355, section 5.1)."""


class YesNoFigures(BaseModel):
    """One model's figures; one is None where nothing is below its line."""

    model_config = ConfigDict(frozen=True)

    scored: int
    unscored: int
    """Answers that say neither, are missing, or failed; they are in no figure."""
    figures: dict[YesNoFigure, Annotated[Rate, BY_NAME] | None]


class YesNoMeasure(BaseModel):
    """A yes-or-no benchmark, or one of its subsets."""

    model_config = ConfigDict(frozen=True)

    benchmark: str
    subset: str
    """Empty for the whole benchmark."""
    models: dict[str, YesNoFigures]
    changes: dict[str, dict[YesNoFigure, Annotated[RatioChange, BY_NAME] | None]]
    """Model -> against the baseline, on what both answered with yes or no; empty where changes are withheld."""


def yes_no_measure(part: Part, readings: Readings, models: Sequence[str], rules: Rules) -> YesNoMeasure:
    """Returns the figures of a part of a yes-or-no benchmark, each model's and against the baseline."""
    others = [model for model in models if model != rules.baseline]
    return YesNoMeasure(
        benchmark=part.card.name,
        subset=part.subset,
        models={model: _figures(part, readings, model, rules) for model in models},
        changes={model: _changes(part, readings, (rules.baseline, model), rules) for model in others},
    )


def _figures(part: Part, readings: Readings, model: str, rules: Rules) -> YesNoFigures:
    said = [(one.unit, _said(one, readings, model)) for one in part.samples]
    scored = [(unit, one) for unit, one in said if one is not None]
    units, answers = [unit for unit, _ in scored], [one for _, one in scored]
    figures: dict[YesNoFigure, Rate | None] = {}
    for name, adds in FIGURES.items():
        try:
            figures[name] = cluster_bootstrap_ratio([adds(one) for one in answers], units, Resampling(rules.confidence))
        except NotMeasured:
            figures[name] = None
    return YesNoFigures(scored=len(scored), unscored=len(said) - len(scored), figures=figures)


def _changes(
    part: Part, readings: Readings, models: tuple[str, str], rules: Rules
) -> dict[YesNoFigure, RatioChange | None]:
    if model_change(part, readings, models, rules).change is None:
        return {}
    told = [(one.unit, _said(one, readings, models[0]), _said(one, readings, models[1])) for one in part.samples]
    both = [(unit, old, new) for unit, old, new in told if old is not None and new is not None]
    units = [unit for unit, _, _ in both]
    changes: dict[YesNoFigure, RatioChange | None] = {}
    for name, adds in FIGURES.items():
        before, after = [adds(old) for _, old, _ in both], [adds(new) for _, _, new in both]
        try:
            changes[name] = ratio_change(before, after, units, Resampling(rules.confidence))
        except NotMeasured:
            changes[name] = None
    return changes


def _said(sample: Sample, readings: Readings, model: str) -> Said | None:
    """Returns what an answer says, which its score and the right answer tell; None where it says neither."""
    reading = readings.get((sample.id, model))
    if reading is None or reading.score is None:
        return None
    right = sample.references[0] == "yes"
    return Said(right, right == bool(reading.score))
