"""`spavl build --plan`: says what a build will ask of its models, before it asks."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from spavl.budget_config import plain
from spavl.cli.options import say

if TYPE_CHECKING:
    from spavl.pipeline.forecast import Forecast, Line

Plan = Annotated[bool, typer.Option("--plan", help="Say what the models would be asked and what it costs, and stop.")]


def say_forecast(forecast: "Forecast", as_json: bool) -> None:
    """Prints a forecast."""
    say(as_dict(forecast), forecast_lines(forecast), as_json)


def as_dict(forecast: "Forecast") -> dict[str, Any]:
    """Returns the forecast as JSON takes it."""
    said = {"again": list(forecast.again), "short": list(forecast.short)}
    return {"lines": [line._asdict() for line in forecast.lines], **said, **_totals(forecast)}


def forecast_lines(forecast: "Forecast") -> list[str]:
    """Returns the forecast for a person."""
    totals = _totals(forecast)
    owed = f" and {totals['owed']:,} are not made unless asked for (below)" if totals["owed"] else ""
    money = " + ".join(f"{plain(amount)} {currency}" for currency, amount in totals["money"].items())
    unknown = ", without that of local models" if totals["seconds_unknown"] else ""
    rows = [
        ("stage", "model", "calls", "stored", "tokens read", "written", "money", "time"),
        *map(_row, forecast.lines),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        *("  ".join(_cells(row, widths)).rstrip() for row in rows),
        "",
        f"in all {totals['calls']:,} calls, of which {totals['stored']:,} cost nothing{owed}; at most "
        f"{totals['prompt_tokens']:,} tokens read and {totals['completion_tokens']:,} written, "
        f"{money or 'no model with a price'}; about {_time(totals['seconds'])}{unknown}",
        "<= where inputs are not there yet; tokens from prompts' lengths and answers' limits; time at the pace of this "
        "run so far, or at an assumed one",
        *(f"again: {line}" for line in forecast.again),
        *(f"short: {line}" for line in forecast.short),
    ]


def _cells(row: tuple[str, ...], widths: list[int]) -> list[str]:
    """Returns a row's cells, as wide as their columns; numbers stand on the right."""
    padded = zip(row, widths, strict=True)
    return [cell.ljust(width) if place < 2 else cell.rjust(width) for place, (cell, width) in enumerate(padded)]


def _totals(forecast: "Forecast") -> dict[str, Any]:
    money: dict[str, float] = {}
    for line in forecast.lines:
        if line.money is not None:
            money[line.currency] = money.get(line.currency, 0.0) + line.money
    names = ("calls", "stored", "owed", "prompt_tokens", "completion_tokens")
    return {name: sum(getattr(line, name) for line in forecast.lines) for name in names} | {
        "money": money,
        "seconds": sum(line.seconds or 0.0 for line in forecast.lines),
        "seconds_unknown": any(line.seconds is None for line in forecast.lines),
    }


def _row(line: "Line") -> tuple[str, ...]:
    return (
        line.stage,
        f"{line.responder} ({line.model})" if line.responder else line.model,
        f"{'' if line.exact else '<= '}{line.calls:,}",
        f"{line.stored:,}",
        f"{line.prompt_tokens:,}",
        f"{line.completion_tokens:,}",
        "-" if line.money is None else f"{plain(line.money)} {line.currency}",
        "unknown" if line.seconds is None else _time(line.seconds),
    )


def _time(seconds: float) -> str:
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.0f} s"
