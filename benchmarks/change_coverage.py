"""How often the interval of a change of the unsafe rate covers the true change, where a judge errs: a simulation.

Items are unsafe before and after alignment with known shares; a judge reads them with a sensitivity and a specificity,
which may change with alignment, for aligned answers are worded otherwise; people label some of the items. Three 95 %
intervals: the judge's own paired one, that of people's labels alone, and `powered_change` (PPI++) of both.

    python -m benchmarks.change_coverage [--quick] [--json PATH]
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from math import sqrt
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from spavl.stats import powered_change

Z = 1.959964
"""Normal quantile of a 95 % interval."""
BEFORE = (0.90, 0.90)
"""Sensitivity and specificity of the judge before alignment."""
LENIENT = (0.70, 0.95)
Truth = npt.NDArray[np.bool_]


class Setting(NamedTuple):
    """One simulated evaluation."""

    name: str
    items: int
    labelled: int
    after: tuple[float, float]
    """Sensitivity and specificity after alignment."""
    shares: tuple[float, float, float, float]
    """Of items fixed, broken, unsafe both times, and never."""

    @property
    def change(self) -> float:
        """The true change of the unsafe rate."""
        return self.shares[1] - self.shares[0]


MENDED, STILL = (0.29, 0.04, 0.11, 0.56), (0.15, 0.15, 0.25, 0.45)
SETTINGS = (
    Setting("−25 points, judge more lenient after", 530, 120, LENIENT, MENDED),
    Setting("the same, half the items", 265, 80, LENIENT, MENDED),
    Setting("−25 points, the same judge", 530, 120, BEFORE, MENDED),
    Setting("no change, judge more lenient after", 530, 120, LENIENT, STILL),
)


class Estimate(NamedTuple):
    """A change with its interval."""

    value: float
    low: float
    high: float


def estimates(setting: Setting, random: np.random.Generator) -> Iterator[tuple[str, Estimate]]:
    """Yields each method's estimate of one simulated evaluation."""
    kinds = random.choice(4, size=setting.items, p=setting.shares)
    old, new = (kinds == 0) | (kinds == 2), (kinds == 1) | (kinds == 2)
    seen = _judged(random, old, BEFORE), _judged(random, new, setting.after)
    people = list(zip(old.tolist(), new.tolist(), strict=True))[: setting.labelled]
    judged = list(zip(seen[0].tolist(), seen[1].tolist(), strict=True))
    powered = powered_change(judged, [*people, *[None] * (setting.items - setting.labelled)])
    yield "judge alone", _normal(seen[1].astype(float) - seen[0])
    yield "people alone", _normal((new.astype(float) - old)[: setting.labelled])
    yield "powered (PPI++)", Estimate(powered.value, powered.low, powered.high)


def _judged(random: np.random.Generator, truth: Truth, accuracy: tuple[float, float]) -> Truth:
    sensitivity, specificity = accuracy
    return random.random(len(truth)) < np.where(truth, sensitivity, 1 - specificity)


def _normal(differences: npt.NDArray[np.float64]) -> Estimate:
    half = Z * float(differences.std()) / sqrt(len(differences))
    return Estimate(float(differences.mean()), float(differences.mean()) - half, float(differences.mean()) + half)


class Covered(NamedTuple):
    """What a method's intervals were worth in a setting."""

    setting: str
    items: int
    labelled: int
    method: str
    covered: float
    """Share of intervals that hold the true change."""
    bias: float
    """Mean estimate less the true change."""
    width: float


def simulate(setting: Setting, draws: int, seed: int = 0) -> list[Covered]:
    """Returns what every method is worth in a setting."""
    random = np.random.default_rng(seed)
    found: dict[str, list[Estimate]] = {}
    for _ in range(draws):
        for method, one in estimates(setting, random):
            found.setdefault(method, []).append(one)
    return [
        Covered(
            *setting[:3],
            method,
            covered=sum(one.low <= setting.change <= one.high for one in listed) / draws,
            bias=sum(one.value for one in listed) / draws - setting.change,
            width=sum(one.high - one.low for one in listed) / draws,
        )
        for method, listed in found.items()
    ]


def table(found: Sequence[Covered]) -> str:
    """Returns it as Markdown."""
    lines = [
        "| setting | items, labelled | method | covers the truth | bias, points | width, points |",
        "|---|---|---|---|---|---|",
        *(
            f"| {one.setting} | {one.items}, {one.labelled} | {one.method} | {one.covered:.1%} "
            f"| {100 * one.bias:+.1f} | {100 * one.width:.1f} |"
            for one in found
        ),
    ]
    return "\n".join(lines)


def main() -> None:
    """Simulates, prints the table and writes the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.change_coverage",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="200 simulated evaluations of each setting, not 1,500")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    found = [one for setting in SETTINGS for one in simulate(setting, 200 if options.quick else 1500)]
    print(table(found))
    if options.json:
        options.json.write_text(json.dumps([one._asdict() for one in found], indent=2) + "\n")


if __name__ == "__main__":
    main()
