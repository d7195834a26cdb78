"""The page's tables as values: what each says, row by row; how they look is the template's matter."""

from collections.abc import Sequence
from typing import NamedTuple

from spavl.evaluate.results import BeforeAfter, EvaluationResults, Wins
from spavl.judges.base import JudgeCard
from spavl.report.beside import Beside
from spavl.report.gather import Built, ReportData
from spavl.report.training import Training
from spavl.report.wording import (
    FEW_UNITS_NOTE,
    TITLES,
    bounds_text,
    change_text,
    flags_text,
    margin_text,
    p_text,
    rate_text,
)


class Link(NamedTuple):
    """A cell that leads to a file of the run."""

    text: str
    href: str


Cell = str | int | Link
LONGEST_TIGHT = 34
"""Characters of a cell that is kept on one line; a change with its interval has them."""
LONGEST_WORD = 24
"""Characters of a word that no line breaks."""
LONGEST_ROW = 130
"""Characters of a row whose cells are kept on one line each; a longer one would leave the page."""


class Table(NamedTuple):
    """A table; the first cell of a row is its heading, numbers stand to the right."""

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""

    @property
    def wide(self) -> bool:
        """Whether a phone shows each row as a block."""
        return len(self.headings) > 3

    def numeric(self, column: int) -> bool:
        """Whether a column holds numbers only; on a phone those share a line."""
        return bool(self.rows) and all(str(row[column]).replace(".", "", 1).isdecimal() for row in self.rows)

    @staticmethod
    def word(cell: Cell) -> bool:
        """Whether a cell is one word that fits on a line, such as a model's name."""
        text = str(cell)
        return len(text) <= LONGEST_WORD and " " not in text

    def tight(self, column: int) -> bool:
        """Whether a column's cells are short enough to stay on one line, beside what the others need."""
        longest = [max(len(str(cell)) for cell in cells) for cells in zip(*self.rows, strict=True)]
        row = sum(min(one, LONGEST_TIGHT) for one in longest)
        return not longest or (longest[column] <= LONGEST_TIGHT and row <= LONGEST_ROW)


HELD_OUT = {
    "image": "picture unseen; its kind of harm was trained on",
    "leaf": "picture unseen, and its whole kind of harm (leaf) too",
}


LENGTHS = {
    "shorter": "shorter: under 0.8 of the rejected answer’s tokens",
    "alike": "alike",
    "longer": "longer: 1.25 times as many tokens, or more",
    "all": "all pairs",
}


def headline_table(results: EvaluationResults) -> Table:
    """Returns every metric before and after."""
    return Table(
        "Before and after alignment",
        ("Measured", "Before", "After", "Change", "p", "n before", "n after"),
        [
            (TITLES[name], *_rates(metric), p_text(metric.change), metric.before.n, metric.after.n)
            for name, metric in results.metrics.items()
        ],
        "n: answers scored. In brackets: intervals; where questions share a picture they draw whole pictures. Change: "
        "after minus before on the samples scored both times, in percentage points. p: exact sign-flip "
        "test of whole pictures’ summed changes (McNemar’s where each sample stands alone), adjusted for the number of "
        f"rows (Holm). {FEW_UNITS_NOTE}",
    )


def beside_table(results: EvaluationResults, beside: Beside, method: str) -> Table:
    """Returns every metric before, and after either run's training.

    Args:
        results: This run's.
        beside: The other's.
        method: How this run's model was aligned.
    """
    return Table(
        f"The same questions and the same judge, after {method} here and after {beside.method} in {beside.name}",
        ("", "before", f"after {method}", f"after {beside.method}"),
        [
            (TITLES[name], rate_text(one.before), rate_text(one.after), rate_text(beside.metrics[name].after))
            for name, one in results.metrics.items()
            if name in beside.metrics
        ],
    )


def unscored_table(results: EvaluationResults) -> Table:
    """Returns what could not be scored, what that could have changed, and what the paired change is made of."""
    rows: list[Sequence[Cell]] = []
    for name, metric in results.metrics.items():
        change = metric.change
        moved = (change.n, change.before_only, change.after_only) if change else (0, 0, 0)
        limits = [bounds_text(rate.lowest, rate.highest) for rate in (metric.before, metric.after)]
        rows.append((TITLES[name], *limits, metric.before.unscored, metric.after.unscored, *moved))
    return Table(
        "What could not be scored, and what changed sample by sample",
        (
            "Measured",
            "Bounds before",
            "Bounds after",
            "Unscored before",
            "Unscored after",
            "Scored both times",
            "Yes, then no",
            "No, then yes",
        ),
        rows,
        "Unscored answers are in no rate. Bounds: the rate if none, or all, of them were counted. Yes and no: whether "
        "the answer was unsafe, refused, or named right.",
    )


def held_out_table(results: EvaluationResults) -> Table:
    """Returns the unsafe rate on held-out pictures and on held-out leaves."""
    return Table(
        "Unsafe rate, by what training never saw",
        ("Held out", "Before", "After", "Change", "n before", "n after"),
        [
            (HELD_OUT[kind], *_rates(metric), metric.before.n, metric.after.n)
            for kind, metric in results.by_held_out.items()
        ],
    )


def wins_table(results: EvaluationResults) -> Table:
    """Returns how often the answer after alignment was preferred."""
    rows = {
        "all questions": results.win_rate,
        "harmful questions": results.win_rate_harmful,
        "benign questions": results.win_rate_benign,
    }
    return Table(
        "Answer after alignment against answer before",
        ("On", "Win rate", "n", "Wins", "Ties", "Losses", "Inconsistent", "Unscored"),
        [(name, *_wins(wins)) for name, wins in rows.items()],
        "Win rate: (wins + ties / 2 + inconsistent / 2) / n. Inconsistent: the verdict changed with the order.",
    )


def judge_table(judge: JudgeCard) -> Table:
    """Returns how often the judge was right, by data set."""
    return Table(
        "The judge, measured against human labels",
        ("Human labels", "Event", "Sensitivity", "Specificity", "n with event", "n without", "Unscored"),
        [
            (
                one.dataset,
                one.event,
                rate_text(one.sensitivity, 1),
                rate_text(one.specificity, 1),
                one.sensitivity.n,
                one.specificity.n,
                one.unscored,
            )
            for one in judge.measurements
        ],
        "Sensitivity: share of true events it finds. Specificity: share of the rest it leaves alone. "
        "In brackets: 95\u00a0% intervals.",
    )


def lengths_table(training: Training) -> Table:
    """Returns the final reward margin by which answer is the longer one."""
    return Table(
        "Reward margin, by the length of the chosen answer",
        ("Chosen answer", "Margin", "Pairs"),
        [(LENGTHS[length], margin_text(margin), margin.n) for length, margin in training.margins.items()]
        or [("not measured", "–", "–")],
        f"Means over the pairs of the last {training.last_steps} of {training.steps} steps, without interval: the log "
        "keeps means only. A margin in one row alone is a sign that length was learnt, not preference.",
    )


def stations_table(data: ReportData | Built) -> Table:
    """Returns the counts of every station; items = records + failures + dropped."""
    rows: list[Sequence[Cell]] = []
    for station, manifest in data.manifests.items():
        counts = manifest.counts
        reasons = ", ".join(f"{reason} {count}" for reason, count in counts.by_reason.items()) or "–"
        link = Link(station, f"../{station}/manifest.json")
        rows.append(
            (link, counts.items, counts.records, counts.failures, counts.dropped, f"{manifest.seconds:.1f}", reasons)
        )
    return Table(
        "Every station: items = records + failures + dropped",
        ("Station", "Items", "Records", "Failures", "Dropped", "Seconds", "Reasons"),
        rows,
        "Dropped: left out by a rule. Failure: something went wrong. Each station's name leads to its manifest.",
    )


def _rates(metric: BeforeAfter) -> tuple[Cell, ...]:
    before, after = (f"{rate_text(one, 1)}{flags_text(one.few_units)}" for one in (metric.before, metric.after))
    return before, after, change_text(metric.change)


def _wins(wins: Wins) -> tuple[Cell, ...]:
    return rate_text(wins, 1), wins.n, wins.wins, wins.ties, wins.losses, wins.inconsistent, wins.unscored
