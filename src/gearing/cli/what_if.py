"""`gearing what-if`: what a daily-rebalanced token returns if its underlying does this, in closed form."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gearing.cli.output import Column, JsonFlag, aligned, emit, heading, pairs, say, show_table
from gearing.errors import InputError
from gearing.numerals import fixed, gained, number, percent, share, summing

if TYPE_CHECKING:
    from gearing.study.what_if import LogParts

SCHEMA = "gearing.what-if/1"

# The grid of the table, as the prospectuses of ProShares print it; what was asked for is added to it.
_VOLATILITIES = (0.1, 0.25, 0.5, 0.75, 1.0)
_RETURNS = (-0.6, -0.4, -0.2, 0.0, 0.2, 0.4, 0.6)

# A plain number above these is a percentage without its sign: 80 for 80 %.
_PLAUSIBLE = {"--return": 3.0, "--volatility": 10.0, "--fee": 0.5, "--funding": 3.0}


def what_if(
    *,
    target: Annotated[float, typer.Option(help="Target leverage, such as 3 or -1.", show_default=False)],
    underlying_return: Annotated[
        str, typer.Option("--return", help="Return of the underlying over the days: -10% or -0.1.", show_default=False)
    ],
    volatility: Annotated[str, typer.Option(help="Volatility of the underlying per year: 80%.", show_default=False)],
    days: Annotated[float, typer.Option(help="How long the token is held.", show_default=False)],
    fee: Annotated[str, typer.Option(help="Management fee per year: 0.95%.")] = "0",
    funding: Annotated[str, typer.Option(help="Funding that longs pay on notional per year: 10%.")] = "0",
    days_per_year: Annotated[float, typer.Option(help="365, or 252 where --days are trading days.")] = 365.0,
    as_json: JsonFlag = False,
) -> None:
    """Returns what a daily-rebalanced token makes of a return and a volatility of its underlying, in closed form."""
    r, sigma = _rate("--return", underlying_return), _rate("--volatility", volatility)
    charged = {"fee_per_year": _rate("--fee", fee), "funding_per_year": _rate("--funding", funding)}
    from gearing.study.what_if import log_parts
    from gearing.study.what_if import what_if as returned

    parts = log_parts(target, r, sigma, days, days_per_year=days_per_year, **charged)
    returns = sorted({*_RETURNS, r})
    volatilities = sorted({*_VOLATILITIES, sigma})
    table = [
        [returned(target, x, v, days, days_per_year=days_per_year, **charged) for v in volatilities] for x in returns
    ]
    answer = {
        "target": target,
        "underlying_return": r,
        "volatility": sigma,
        "days": days,
        "days_per_year": days_per_year,
        **charged,
        "return": math.expm1(float(parts.total)),
        "log": {**{name: float(value) for name, value in parts._asdict().items()}, "total": float(parts.total)},
        "table": {"underlying_returns": returns, "volatilities": volatilities, "returns": table},
    }
    emit(answer, SCHEMA, as_json, lambda: _show(answer, parts))


def _rate(option: str, text: str) -> float:
    """Returns a rate as it was written.

    Raises:
        InputError: it is not a rate, or a percentage without its sign.
    """
    from gearing.core.record import rate

    shown = text[:40]
    where = f"{option} {shown}"
    try:
        value = rate(text)
    except (ValueError, OverflowError):
        raise InputError(f"{shown!r} is not a rate.", where=where, fix="Write 10% or 0.1.") from None
    if "%" not in text and "bp" not in text and (abs(value) > _PLAUSIBLE[option] or value <= -1):
        what = f"{shown} would be {number(value * 100)} %."
        raise InputError(what, where=where, fix=f"Write {shown}% or {value / 100:g}.")
    return value


def _show(answer: dict[str, Any], parts: LogParts) -> None:
    """Prints the answer, its parts and the table around it."""
    token = f"A token of {number(answer['target'], sign=True)} times the daily return"
    typer.secho(f"{token} returns {gained(answer['return'])} over {number(answer['days'])} days", bold=True)
    year = answer["days_per_year"]
    pairs(
        [
            ("underlying", f"{share(answer['underlying_return'])}, volatility {percent(answer['volatility'])} a year"),
            ("a year", f"{number(year)} days, so this is {number(answer['days'] / year, decimals=4)} years"),
            ("fee", f"{percent(answer['fee_per_year'])} a year of equity"),
            ("funding", f"{percent(answer['funding_per_year'])} a year of notional, paid by longs"),
        ]
    )
    heading("Where it comes from")
    names = [name.replace("_", " ") for name in parts._fields]
    values = [float(value) for value in parts]
    texts, total = summing(values, 4)
    alone = [gained(math.expm1(value)) for value in values]
    rows = [("", "log", "alone"), *zip(names, texts, alone, strict=True), ("total", total, gained(answer["return"]))]
    lines = aligned(rows, "<>>", gap=3)
    for line in (*lines[:-1], "─" * max(len(line) for line in lines), lines[-1]):
        typer.echo(line)
    grid = answer["table"]
    columns = [Column("underlying", "right", wrap=False)]
    columns += [Column(percent(v), "right", wrap=False) for v in grid["volatilities"]]
    body = [
        [share(r, 1), *(_cell(value) for value in row)]
        for r, row in zip(grid["underlying_returns"], grid["returns"], strict=True)
    ]
    show_table(columns, body, title="Return of the token, by return of the underlying and by volatility a year")
    typer.echo()
    say(
        "The closed form holds for frequent rebalancing, constant volatility, no jumps and no autocorrelation of the "
        "underlying's returns; trading costs nothing."
    )


def _cell(value: float) -> str:
    return f"{fixed(value * 100, 1, sign=True)} %"
