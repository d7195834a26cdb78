"""Figures of settings from the marks of their runs, and the tables for RESULTS.md."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.dpo_vs_trl.meter import Mark

SYSTEMS = ("spavl", "trl_tuned", "trl_split", "trl_default")


class Setting(NamedTuple):
    """What is compared."""

    shape: str
    questions_per_image: int
    epochs: int


class Figures(NamedTuple):
    """One system at one setting; a pair that is trained on in three epochs counts three times."""

    system: str
    shape: str
    questions_per_image: int
    epochs: int
    seconds_per_pair: float
    """Median of the repeats."""
    seconds_low: float
    seconds_high: float
    tokens_per_pair: float
    """That entered the language model, policy and reference, padding included."""
    flops_per_pair: float
    peak_bytes: int
    """Most of the repeats: memory above that of the loaded policy."""
    loss: float
    """Mean of the steps."""


class Ratio(NamedTuple):
    """How many times as much a peer takes, from runs of the same round."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}–{self.high:.2f})"


class Measured(NamedTuple):
    """One system's runs at one number of questions, up to the most epochs."""

    counted: Sequence[Mark]
    """The run that counted FLOPs; one mark an epoch."""
    timed: Sequence[Sequence[Mark]]
    """One run a round."""


def figures(system: str, setting: Setting, pairs: int, measured: Measured) -> Figures:
    """Returns the figures after so many epochs of so many pairs."""
    last = setting.epochs - 1
    seen = pairs * setting.epochs
    seconds = seconds_per_pair(setting.epochs, pairs, measured)
    return Figures(
        system=system,
        **setting._asdict(),
        seconds_per_pair=statistics.median(seconds),
        seconds_low=min(seconds),
        seconds_high=max(seconds),
        tokens_per_pair=measured.counted[last].tokens / seen,
        flops_per_pair=measured.counted[last].flops / seen,
        peak_bytes=max(run[last].peak_bytes for run in measured.timed),
        loss=statistics.fmean(measured.timed[0][last].losses),
    )


def seconds_per_pair(epochs: int, pairs: int, measured: Measured) -> list[float]:
    """Returns one figure a round."""
    return [run[epochs - 1].seconds / (pairs * epochs) for run in measured.timed]


def ratio(peer: Sequence[float], ours: Sequence[float]) -> Ratio:
    """Divides round by round, so that what slowed a round down slowed both."""
    ratios = [one / other for one, other in zip(peer, ours, strict=True)]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios))


def table(settings: dict[Setting, dict[str, Figures]], ratios: dict[Setting, dict[str, Ratio]]) -> str:
    """Returns both tables as Markdown."""
    lines = [
        "| shape | questions an image | epochs | system | s a pair (range) | tokens | GFLOP | peak memory, MB | loss |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for setting, systems in settings.items():
        for one in systems.values():
            lines.append(
                f"| {setting.shape} | {setting.questions_per_image} | {setting.epochs} | {one.system} "
                f"| {one.seconds_per_pair:.2f} ({one.seconds_low:.2f}–{one.seconds_high:.2f}) "
                f"| {one.tokens_per_pair:,.0f} | {one.flops_per_pair / 1e9:,.0f} "
                f"| {one.peak_bytes / 1e6:,.0f} | {one.loss:.4f} |"
            )
    lines += [
        "",
        "TRL divided by spavl; time as median and range over the rounds:",
        "",
        "| shape | questions an image | epochs | system | time | tokens | FLOPs | memory |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for setting, systems in settings.items():
        ours = systems["spavl"]
        for name in SYSTEMS[1:]:
            peer = systems[name]
            lines.append(
                f"| {setting.shape} | {setting.questions_per_image} | {setting.epochs} | {name} "
                f"| {ratios[setting][name]} | {peer.tokens_per_pair / ours.tokens_per_pair:.2f} "
                f"| {peer.flops_per_pair / ours.flops_per_pair:.2f} | {peer.peak_bytes / ours.peak_bytes:.2f} |"
            )
    return "\n".join(lines)
