"""Configuration of what asking a model may cost: prices, budgets that end the asking, and how amounts are written."""

import math

from pydantic import Field

from spavl.config_base import Config


class PriceConfig(Config):
    """What a model's tokens cost."""

    input: float = Field(ge=0)
    """For a million tokens that it reads."""
    output: float = Field(ge=0)
    """For a million tokens that it writes."""
    currency: str = "USD"
    """Any name; amounts of one name are added up."""


class ComputeBudgetConfig(Config):
    """The most that one run may spend on a model; a call that might exceed it is not made."""

    tokens: int | None = Field(None, ge=1)
    """Tokens, those read and those written together."""
    seconds: float | None = Field(None, gt=0)
    """Seconds of wall time in which at least one call of the model is under way."""


class BudgetConfig(ComputeBudgetConfig):
    """The same for a model behind a server, whose tokens may have a price."""

    money: float | None = Field(None, gt=0)
    """In the currency of `price`."""


def plain(amount: float) -> str:
    """Returns an amount as a person writes it: to the hundredth, or to three digits where it is below 1."""
    small = 0 < abs(amount) < 1
    digits = max(2, 2 - math.floor(math.log10(abs(amount)))) if small else 2
    return f"{amount:,.{digits}f}".rstrip("0").rstrip(".")
