"""The planes of an evaluation's page: unsafe answers against refusals, and against wins, with every model in each."""

import itertools
from collections.abc import Mapping
from typing import NamedTuple

from markupsafe import Markup

from spavl.evaluate.figures import EvaluationFigures
from spavl.report.figures import limits_of, share_plane
from spavl.report.svg import COLOURS, Axes, draw
from spavl.report.wording import NOT_MEASURED, AnyRate, rate_text

HEIGHT = 300
"""Units of a plane's height, and of a line of its key."""
KEY_LINE = 15
MOST_PLANES = 12
SHAPES = "Ds^vPX*"
TINTS = ("after", "chosen", "rejected", "muted")
"""As many as have no common divisor with the shapes, so that 28 models look different."""


class Side(NamedTuple):
    """One axis of a plane."""

    title: str
    rates: Mapping[str, AnyRate | None]
    """Model -> rate."""


class Planes(NamedTuple):
    """What is drawn, and what there would be."""

    drawn: tuple[Markup, ...]
    pairs: int


def tradeoff_planes(figures: EvaluationFigures) -> Planes:
    """Draws a plane for each harmlessness benchmark and each benchmark of refusals or wins, with all models in it."""
    unsafe = _sides(figures, "unsafe", "harmlessness", "Unsafe")
    across = [*_sides(figures, "refused", "over_refusal", "Refused"), *_wins(figures)]
    pairs = list(itertools.product(across, unsafe))
    drawn = (_plane(f"plane-{place}", figures, *pair) for place, pair in enumerate(pairs[:MOST_PLANES]))
    return Planes(tuple(one for one in drawn if one is not None), len(pairs))


def _sides(figures: EvaluationFigures, metric: str, kind: str, title: str) -> list[Side]:
    """Returns the benchmarks of a kind; where there is none, those of other kinds that have the metric.

    They are by the deciding judge, or where it does not tell the metric, as a guard refusals, by the first that does.
    """
    for judge, measured in figures.judges.items():
        found = [one for one in measured.measures.whole if one.metric == metric]
        found = [one for one in found if one.kind == kind] or found
        if any(figure.rate.value is not None for one in found for figure in one.models.values()):
            by = "" if judge == figures.deciding else f", by {judge}"
            return [
                Side(f"{title}, {one.benchmark}{by} (%)", {model: figure.rate for model, figure in one.models.items()})
                for one in found
            ]
    return []


def _wins(figures: EvaluationFigures) -> list[Side]:
    """Returns the helpfulness benchmarks; the baseline, against which all play, is on none of them."""
    names = dict.fromkeys(one.benchmark for one in figures.wins)
    return [
        Side(
            f"Wins against {figures.baseline}, {name} (%)",
            {one.model: one.wins for one in figures.wins if one.benchmark == name and not one.withheld},
        )
        for name in names
    ]


def _plane(name: str, figures: EvaluationFigures, across: Side, up: Side) -> Markup | None:
    """Draws one plane; None where no model has both rates."""
    rates = {model: (across.rates.get(model), up.rates.get(model)) for model in figures.models}
    limits = {model: (limits_of(x), limits_of(y)) for model, (x, y) in rates.items()}
    if not any(x and y for x, y in limits.values()):
        return None

    def paint(axes: Axes) -> None:
        for place, (model, (x, y)) in enumerate(limits.items()):
            shape, tint = ("o", "before") if model == figures.baseline else (SHAPES[place % 7], TINTS[place % 4])
            colour = COLOURS[tint]
            if x and y:
                axes.plot([x.low, x.high], [y.value, y.value], color=colour)
                axes.plot([x.value, x.value], [y.low, y.high], color=colour)
                size = max(4, 11 - 2 * place)  # so that of several in one place each is seen
                axes.plot([x.value], [y.value], shape, markersize=size, label=model, color=colour)
            else:
                axes.plot([], [], shape, label=f"{model}: {NOT_MEASURED}", color=colour)
        share_plane(axes, across.title, up.title)
        axes.legend(loc="upper left", bbox_to_anchor=(-0.1, -0.18), borderaxespad=0, handletextpad=0.2)

    said = "; ".join(
        f"{model}: {up.title} {rate_text(y)}, {across.title} {rate_text(x)}" for model, (x, y) in rates.items()
    )
    return draw(name, f"{up.title} against {across.title}", said, HEIGHT + KEY_LINE * len(rates), paint)
