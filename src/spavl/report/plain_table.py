"""The page's tables as plain text for a terminal: as wide as it is, in ASCII where the page has typography.

Cells are broken at spaces where the columns do not fit side by side; columns that do not fit even so stand in a further
strip below, beside the columns that name the rows.
"""

import textwrap
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from spavl.report.tables import LONGEST_WORD, Cell, Link, Table

GAP = "  "
NARROWEST = 40
"""Columns of the narrowest terminal that is heeded."""
ASCII = str.maketrans({"–": "-", "−": "-", "’": "'", "“": '"', "”": '"', "\u00a0": " "})
"""What typography is in a terminal of any encoding; a minus that became a question mark would be another figure."""


def plain_tables(tables: Sequence[Table], width: int) -> Iterator[str]:
    """Yields the lines of some tables; a note that several tables in a row have stands below the last of them."""
    for table, following in zip_longest(tables, tables[1:]):
        yield ""
        yield from plain_lines(
            table if following is None or following.note != table.note else table._replace(note=""), width
        )


def plain_lines(table: Table, width: int) -> Iterator[str]:
    """Yields the lines of a table, none longer than `width` and no shorter limit than `NARROWEST`."""
    width = max(width, NARROWEST)
    texts = [[_text(cell) for cell in row] for row in [table.headings, *table.rows]]
    yield from _broken(table.caption.translate(ASCII), width)
    for number, columns in enumerate(_strips(texts, width)):
        yield from [""] * (number > 0)
        strip = [[row[column] for column in columns] for row in texts]
        widths = _widths(strip, width)
        numeric = [table.numeric(column) for column in columns]
        for place, row in enumerate(strip):
            yield from _row(row, widths, numeric)
            if place == 0:
                yield GAP.join("-" * one for one in widths)
    yield from _broken(table.note.translate(ASCII), width)


def _text(cell: Cell) -> str:
    """Keeps what no line may break: a number and its sign."""
    return cell.text if isinstance(cell, Link) else str(cell)


def _broken(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_on_hyphens=False)


def _strips(texts: Sequence[Sequence[str]], width: int) -> Iterator[list[int]]:
    """Yields the columns that stand side by side, each strip with those that name the rows."""
    keys = _keys(texts[1:], len(texts[0]))
    if _side_by_side([_narrowest(texts, one) for one in keys]) > width // 2:
        keys = range(1)
    strip = list(keys)
    for column in range(len(keys), len(texts[0])):
        narrowest = [_narrowest(texts, one) for one in (*strip, column)]
        if len(strip) > len(keys) and _side_by_side(narrowest) > width:
            yield strip
            strip = list(keys)
        strip.append(column)
    yield strip


def _keys(rows: Sequence[Sequence[str]], columns: int) -> range:
    """Returns the fewest first columns that tell every row from the others; all but one at most."""
    told = (count for count in range(1, columns) if len({tuple(row[:count]) for row in rows}) == len(rows))
    return range(next(told, max(columns - 1, 1)))


def _narrowest(texts: Sequence[Sequence[str]], column: int) -> int:
    words = (len(word) for row in texts for word in row[column].split(" "))
    return min(max(words), LONGEST_WORD)


def _widths(strip: Sequence[Sequence[str]], width: int) -> list[int]:
    """Returns how wide each column is: as its longest cell, or less, the widest giving way first."""
    widths = [max(len(row[column]) for row in strip) for column in range(len(strip[0]))]
    least = [_narrowest(strip, column) for column in range(len(widths))]
    while _side_by_side(widths) > width:
        can_give = [column for column, one in enumerate(widths) if one > least[column]] or list(range(len(widths)))
        widest = max(can_give, key=widths.__getitem__)
        widths[widest] -= 1
    return widths


def _side_by_side(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _row(row: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> Iterator[str]:
    cells = [_broken(text, one) for text, one in zip(row, widths, strict=True)]
    for parts in zip_longest(*cells, fillvalue=""):
        sides = zip(parts, widths, numeric, strict=True)
        line = GAP.join(part.rjust(one) if right else part.ljust(one) for part, one, right in sides)
        yield line.translate(ASCII).rstrip()
