"""Keeps docs/benchmarks.md true: the table of public benchmarks, from their cards and from what the tests read.

`python -m tests.evaluate.benchmarks.page` checks; `--write` writes the page anew.
"""

import sys
from itertools import groupby
from pathlib import Path

from tests.evaluate.benchmarks.real_files import REAL, VARIABLE
from tests.evaluate.benchmarks.shapes import SHAPES

from spavl.evaluate.benchmarks import BENCHMARKS
from spavl.evaluate.benchmarks.base import BenchmarkCard

PAGE = Path("docs/benchmarks.md")
HEADINGS = {
    "harmlessness": "Harmlessness",
    "over_refusal": "Over-refusal",
    "helpfulness": "Helpfulness",
    "capability": "Capability",
}
OPENING = f"""# Benchmarks

Written by `python -m tests.evaluate.benchmarks.page --write` from the readers' cards and the tests; do not edit.

spavl reads these benchmarks and hands none of them out: give a folder with the files named under *Layout*. A row that
cannot be asked (no picture, no question, no answer to compare with) is counted by its reason and never left out
silently.

*Checked on* says what the reader was tried on. **Real files**: on the published files, by
`tests/evaluate/benchmarks/test_real_files.py`, which runs where they are at hand (`{VARIABLE}` names the folder
that holds them) and skips elsewhere; *tables only* where the pictures were not at hand. **Documented shape only**: on
small files of the layout that the source named there documents, made up by the tests with placeholder texts; the reader
may fail on a real file that differs.
"""


def page() -> str:
    """Returns the page."""
    parts = [OPENING]
    for kind, group in groupby(BENCHMARKS, key=lambda one: one.card.kind):
        cards = [benchmark.card for benchmark in group]
        parts += [f"\n## {HEADINGS[kind]}\n\n", *(f"| {' | '.join(cells)} |\n" for cells in _table(cards))]
        parts += [_details(card) for card in cards]
    return "".join(parts)


def _table(cards: list[BenchmarkCard]) -> list[tuple[str, ...]]:
    columns = ("benchmark", "size", "licence", "revision", "checked on")
    return [
        columns,
        ("---",) * len(columns),
        *(
            (
                f"`{card.name}`",
                card.size,
                card.licence,
                card.revision or "not pinned",
                _checked_briefly(card.name),
            )
            for card in cards
        ),
    ]


def _checked_briefly(name: str) -> str:
    real = REAL.get(name)
    return "documented shape only" if real is None else "real files" if real.pictures else "real files, tables only"


def _details(card: BenchmarkCard) -> str:
    rows = {
        "Source": f"{card.source}{'; behind a form' if card.gated else ''}",
        "Variants": ", ".join(f"`{variant}`" for variant in card.variants) or "none",
        "Metric": card.metric,
        "Layout": card.layout,
        "Checked on": _checked(card.name),
    }
    lines = "\n".join(f"- {name}: {value}" for name, value in rows.items())
    return f"\n### `{card.name}`: {card.title}\n\n{lines}\n"


def _checked(name: str) -> str:
    real = REAL.get(name)
    if real is None:
        return f"the documented shape ({SHAPES[name].source})"
    counts = ", ".join(f"{count:,} {subset}".strip() for subset, count in real.counts.items())
    return f"real files ({real.source}): {counts} rows{'' if real.pictures else '; without the pictures'}"


def main() -> None:
    """Checks or writes the page."""
    if "--write" in sys.argv[1:]:
        PAGE.write_text(page(), encoding="utf-8")
    elif not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != page():
        sys.exit(f"{PAGE} is not current. Run: python -m tests.evaluate.benchmarks.page --write")


if __name__ == "__main__":
    main()
