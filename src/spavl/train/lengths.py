"""Which pairs fit the limits of training: nothing is ever cut, so a pair that is too long stops it, or is left out.

A limit on the prompt with one answer (`max_length`) and one on the prompt with both (`tokens_per_forward`) are looked
at together, so that one error names all that is in the way.
"""

from collections.abc import Sequence
from typing import NamedTuple

from spavl.errors import UserError
from spavl.records import PreferencePair
from spavl.train.render import Row
from spavl.train_config import PairSettings

NAMED = 10
"""Pairs that an error names; the others are counted."""


class Fitting(NamedTuple):
    """The pairs that fit, in order."""

    pairs: Sequence[PreferencePair]
    rows: Sequence[Row]
    too_long: int
    """How many were left out."""


def fitting_pairs(
    pairs: Sequence[PreferencePair], rows: Sequence[Row], config: PairSettings, picture_token: int
) -> Fitting:
    """Returns the pairs that fit `max_length` and `tokens_per_forward`.

    Args:
        pairs: The pairs.
        rows: The same, rendered.
        config: Says the limits, and whether what exceeds them is left out.
        picture_token: The id that stands for a picture's features, to tell their number from the question's.

    Raises:
        UserError: Some do not fit and shall not be left out, or none fits.
    """
    kept: list[tuple[PreferencePair, Row]] = []
    rest: list[tuple[PreferencePair, Row]] = []
    for both in zip(pairs, rows, strict=True):
        fits = both[1].length <= config.max_length and both[1].packed_length <= config.tokens_per_forward
        (kept if fits else rest).append(both)
    if rest and (config.too_long == "error" or not kept):
        raise UserError(_describe(rest, len(rows), config, picture_token))
    return Fitting([pair for pair, _ in kept], [row for _, row in kept], len(rest))


def _describe(rest: Sequence[tuple[PreferencePair, Row]], total: int, config: PairSettings, picture_token: int) -> str:
    needs = {
        "max_length": [row.length for _, row in rest],
        "tokens_per_forward": [row.packed_length for _, row in rest],
    }
    short = {name: lengths for name, lengths in needs.items() if max(lengths) > getattr(config, name)}
    limits = " and ".join(f"train.{name}={getattr(config, name)}" for name in short)
    enough = " and ".join(f"train.{name}={max(lengths)}" for name, lengths in short.items())
    if len(rest) == total:  # leaving them out would leave nothing, and one range says more than names
        tokens = " and ".join(f"from {min(lengths)} to {max(lengths)}" for lengths in short.values())
        way_out = ""
    else:
        more = f"; and {len(rest) - NAMED:,} more" if len(rest) > NAMED else ""
        tokens = "; ".join(f"{pair.name} ({_lengths(row, picture_token)})" for pair, row in rest[:NAMED]) + more
        way_out = ", or leave them out with train.too_long=drop"
    return (
        f"{len(rest):,} of {total:,} pairs do not fit {limits}; in tokens: {tokens}. Set {enough} or more{way_out}; "
        "prompts and answers are never cut."
    )


def _lengths(row: Row, picture_token: int) -> str:
    picture = row.prompt.count(picture_token)
    answers = " and ".join(str(len(answer)) for answer in row.answers)
    return f"picture {picture}, question {len(row.prompt) - picture}, answers {answers}"
