"""The report's figures. Before and after differ in shape as well as in colour, and so do chosen and rejected."""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from spavl.evaluate.results import BeforeAfter, EvaluationResults
from spavl.report.gather import ReportData, TrainingStep
from spavl.report.rewarded import round_figures
from spavl.report.svg import COLOURS, Axes, draw, whole_ticks
from spavl.report.tallies import DomainCoverage, Responder
from spavl.report.wording import BETTER, NOT_MEASURED, TITLES, AnyRate, percent, rate_text

ROW = 46
"""Units of height of one row of a figure in rows."""
MOST_POINTS = 300
"""Points of a curve; a longer training is shown as means of neighbouring steps."""
MARKERS = {"before": "o", "after": "D"}
MARKED = ("chosen_shift", "chosen_logprob")
"""Curves on which the steps of an alarm are marked."""
TICKS = (0, 0.25, 0.5, 0.75, 1)


class Limits(NamedTuple):
    """A measured value and its interval."""

    low: float
    value: float
    high: float


class Figures(NamedTuple):
    """The figures of a report; None where there is nothing to draw."""

    rates: Markup
    tradeoff: Markup | None
    training: tuple[Markup, ...]
    domains: Markup
    responders: Markup


def draw_figures(data: ReportData) -> Figures:
    """Draws every figure."""
    return Figures(
        rates=rates_figure(data.evaluation.results),
        tradeoff=tradeoff_figure(data.evaluation.results),
        training=(*training_figures(data.steps), *round_figures(data.rounds)),
        domains=domains_figure(data.dataset.coverage),
        responders=responders_figure(data.dataset.responders),
    )


def rates_figure(results: EvaluationResults) -> Markup:
    """Draws every metric before and after, with intervals."""

    def paint(axes: Axes) -> None:
        for place, (name, metric) in enumerate(results.metrics.items()):
            _row_title(axes, place, f"{TITLES[name]}  ({BETTER[name]})")
            _whisker(axes, place + 0.02, limits_of(metric.before), "before", "before ")
            _whisker(axes, place + 0.3, limits_of(metric.after), "after", "after ")
        _rows(axes, len(results.metrics), "")
        _share_axis(axes)

    said = [f"{TITLES[name]}: {_both(metric)}." for name, metric in results.metrics.items()]
    return draw("rates", "Rates before and after alignment", " ".join(said), 30 + 1.35 * ROW * len(said), paint)


def tradeoff_figure(results: EvaluationResults) -> Markup | None:
    """Draws the unsafe rate against the benign refusal rate, and the way from before to after."""
    unsafe, refused = results.metrics["unsafe_rate"], results.metrics["benign_refusal_rate"]
    before = limits_of(refused.before), limits_of(unsafe.before)
    after = limits_of(refused.after), limits_of(unsafe.after)
    if before[0] is None or before[1] is None or after[0] is None or after[1] is None:
        return None
    crosses = {"before": (before[0], before[1]), "after": (after[0], after[1])}

    def paint(axes: Axes) -> None:
        start, end = ((x.value, y.value) for x, y in crosses.values())
        arrow = {"arrowstyle": "-|>", "color": COLOURS["muted"], "shrinkA": 7, "shrinkB": 7, "linewidth": 1.2}
        axes.annotate("", xy=end, xytext=start, arrowprops=arrow)
        for name, (x, y) in crosses.items():
            cross(axes, x, y, name)
        axes.text(0.02, 0.03, "↙ safe and helpful", color=COLOURS["muted"], transform=axes.transAxes)
        share_plane(axes, "Benign questions refused (%)", "Unsafe answers (%)")
        axes.legend(loc="upper right", handletextpad=0.2)

    description = f"Unsafe rate: {_both(unsafe)}. Benign refusal rate: {_both(refused)}. Both are better lower."
    return draw("tradeoff", "Unsafe answers against refused benign questions", description, 320, paint)


def cross(axes: Axes, x: Limits, y: Limits, name: str) -> None:
    """Draws two rates of one model as a point with both intervals, in the colour and shape of `before` or `after`."""
    axes.plot([x.low, x.high], [y.value, y.value], color=COLOURS[name])
    axes.plot([x.value, x.value], [y.low, y.high], color=COLOURS[name])
    axes.plot([x.value], [y.value], MARKERS[name], color=COLOURS[name], markersize=8, label=name)


def share_plane(axes: Axes, across: str, up: str) -> None:
    """Makes both axes run from 0 to 100 %."""
    axes.set(xlabel=across, ylabel=up, aspect="equal")
    axes.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(TICKS, [percent(tick) for tick in TICKS])


def training_figures(steps: Sequence[TrainingStep]) -> tuple[Markup, ...]:
    """Draws loss, margin, accuracy, the chosen shift if there is one, and both answers' log-probabilities by step."""
    measured = [step for step in steps if step.reward_margin is not None]
    if not measured:
        return ()
    points = _thinned(measured)
    return (
        _curve("loss", "Loss", points, {"loss": "ink"}),
        _curve("margin", "Reward margin (nats × β)", points, {"reward_margin": "ink"}),
        _curve("accuracy", "Pairs with the chosen answer ahead (%)", points, {"accuracy": "ink"}),
        *_shift_curves(points),
        _curve(
            "logprobs",
            "Log-probability of an answer (nats)",
            points,
            {"chosen_logprob": "chosen", "rejected_logprob": "rejected"},
        ),
    )


def domains_figure(coverage: Sequence[DomainCoverage]) -> Markup:
    """Draws the number of preference pairs of each domain."""
    most = max((domain.pairs for domain in coverage), default=0)

    def paint(axes: Axes) -> None:
        for place, domain in enumerate(coverage):
            _row_title(axes, place, domain.name)
            axes.barh(place + 0.14, domain.pairs, 0.3, color=COLOURS["after"])
            axes.text(domain.pairs + 0.015 * most, place + 0.14, str(domain.pairs), va="center")
        _rows(axes, len(coverage), "Preference pairs")
        axes.set_xlim(0, 1.12 * max(most, 1))
        whole_ticks(axes)

    description = "; ".join(f"{domain.name}: {domain.pairs}" for domain in coverage)
    return draw("domains", "Preference pairs by domain", description, 40 + 0.72 * ROW * len(coverage), paint)


def responders_figure(responders: Sequence[Responder]) -> Markup:
    """Draws each responder's safe rate with its interval."""

    def paint(axes: Axes) -> None:
        for place, responder in enumerate(responders):
            group = "" if responder.group is None else f"  (group {responder.group})"
            _row_title(axes, place, f"{responder.name}{group}")
            safe = responder.safe
            _whisker(axes, place + 0.14, None if safe is None else Limits(safe.low, safe.value, safe.high), "after")
        _rows(axes, len(responders), "Responses labelled safe (%)")
        _share_axis(axes)

    said = "; ".join(f"{responder.name}: {rate_text(responder.safe)}" for responder in responders)
    return draw("responders", "Safe rate of each responder", said, 40 + 0.8 * ROW * len(responders), paint)


# -- rows --------------------------------------------------------------------------------------------------------------


def _row_title(axes: Axes, place: int, text: str) -> None:
    """Writes a row's title over its marks, so that titles take no width from them."""
    shown = text if len(text) <= 56 else f"{text[:55]}…"
    box = {"facecolor": COLOURS["paper"], "edgecolor": "none", "pad": 1}
    axes.text(0, place - 0.24, shown, transform=axes.get_yaxis_transform(), va="center", bbox=box)


def _rows(axes: Axes, count: int, label: str) -> None:
    axes.set_ylim(max(count, 1) - 0.45, -0.5)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(label)


def _share_axis(axes: Axes) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_xticks(TICKS, [f"{percent(tick)}\u00a0%" for tick in TICKS])
    axes.get_xticklabels()[0].set_horizontalalignment("left")
    axes.get_xticklabels()[-1].set_horizontalalignment("right")


def _whisker(axes: Axes, y: float, limits: Limits | None, name: str, label: str = "") -> None:
    """Draws a value with its interval, and writes it beside the axis, where no interval can reach."""
    if limits is None:
        axes.text(0, y, f"{label}{NOT_MEASURED}", va="center", color=COLOURS["muted"])
        return
    colour = COLOURS[name]
    axes.plot([limits.low, limits.high], [y, y], color=colour, solid_capstyle="butt")
    axes.plot([limits.low, limits.high], [y, y], "|", color=colour, markersize=7)
    axes.plot([limits.value], [y], MARKERS[name], color=colour, markersize=6)
    text = f"{label}{percent(limits.value)}\u00a0%"
    axes.text(1.03, y, text, transform=axes.get_yaxis_transform(), va="center")


def limits_of(rate: AnyRate | None) -> Limits | None:
    """Returns a rate with its interval; None where nothing was measured."""
    if rate is None or rate.value is None or rate.low is None or rate.high is None:
        return None
    return Limits(rate.low, rate.value, rate.high)


def _both(metric: BeforeAfter) -> str:
    return f"{rate_text(metric.before)} before, {rate_text(metric.after)} after"


# -- curves ------------------------------------------------------------------------------------------------------------


def _thinned(steps: Sequence[TrainingStep]) -> list[TrainingStep]:
    """Returns the steps, or the means of neighbouring ones where there are many; an alarm among them stays."""
    size = math.ceil(len(steps) / MOST_POINTS)
    if size == 1:
        return list(steps)
    averaged = ("loss", "reward_margin", "accuracy", "chosen_logprob", "rejected_logprob")
    thinned = []
    for start in range(0, len(steps), size):
        group = steps[start : start + size]
        means: dict[str, float | None] = {
            name: statistics.fmean(getattr(step, name) for step in group) for name in averaged
        }
        shifts = [step.chosen_shift for step in group if step.chosen_shift is not None]
        means["chosen_shift"] = statistics.fmean(shifts) if shifts else None
        means["chosen_falling"] = any(step.chosen_falling for step in group)
        thinned.append(group[-1].model_copy(update=means))
    return thinned


def _shift_curves(steps: Sequence[TrainingStep]) -> tuple[Markup, ...]:
    """Draws how far the chosen answers have moved from the reference; nothing where no loss reads it."""
    if any(step.chosen_shift is None for step in steps):
        return ()
    title = "Chosen log-probability minus the reference’s (nats)"
    return (_curve("shift", title, steps, {"chosen_shift": "chosen"}),)


def _curve(name: str, title: str, steps: Sequence[TrainingStep], lines: dict[str, str]) -> Markup:
    places = [step.step for step in steps]
    shares = name == "accuracy"

    def paint(axes: Axes) -> None:
        for field, colour in lines.items():
            values = [getattr(step, field) for step in steps]
            style = "--" if colour == "rejected" else "-"
            marker = "o" if len(steps) == 1 else None
            label = field.removesuffix("_logprob")
            axes.plot(places, values, style, color=COLOURS[colour], label=label, marker=marker)
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlabel("Step")
        whole_ticks(axes)
        if shares:
            axes.set_ylim(-0.03, 1.03)
            axes.set_yticks(TICKS, [percent(tick) for tick in TICKS])
        if len(lines) > 1:
            axes.legend(loc="best")
        if not lines.keys().isdisjoint(MARKED):
            for step in steps:
                if step.chosen_falling:
                    axes.axvline(step.step, color=COLOURS["alarm"], linewidth=3, alpha=0.25, zorder=0)

    said = "; ".join(
        f"{field.replace('_', ' ')}: {getattr(steps[0], field):.3g} at step {places[0]}, "
        f"{getattr(steps[-1], field):.3g} at step {places[-1]}"
        for field in lines
    )
    return draw(name, title, said, 190, paint)
