"""`gearing market tiers`: a venue's maintenance-margin brackets, as a table or as lines of a token's file."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gearing.cli.output import Column, JsonFlag, emit, say, show_table

if TYPE_CHECKING:
    from gearing.core.instruments import MarginTier
    from gearing.market.tiers import TierSet


def tiers(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Parquet history, or JSON of ccxt or Binance.", show_default=False)
    ],
    symbol: Annotated[
        str | None, typer.Option(help="The contract: BTCUSDT or BTC/USDT:USDT.", show_default="the only one")
    ] = None,
    at: Annotated[
        str | None, typer.Option(help="Of a history, the set in force then, UTC.", show_default="last")
    ] = None,
    toml: Annotated[bool, typer.Option("--toml", help="Print the lines that a token's file needs.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Shows a venue's maintenance-margin brackets of one contract."""
    from gearing.market.tiers import folded_symbol, read_tier_set
    from gearing.market.times import iso

    found = read_tier_set(file, symbol=symbol, at=at)
    since = None if found.since_ms is None else iso(found.since_ms)[:10]
    payload = {"file": str(file), "symbol": found.symbol, "since": since, "tiers": found.tiers}

    def show() -> None:
        if toml:
            typer.echo(_toml(folded_symbol(found.symbol), found.tiers))
        else:
            _show(found, since)

    emit(payload, "gearing.market.tiers/1", as_json, show)


def _show(found: TierSet, since: str | None) -> None:
    from gearing.core.words import number, percent

    date = f", set of {since}" if since else ""
    typer.secho(f"{found.symbol}: maintenance margin = notional × rate − amount{date}", bold=True)
    columns = (Column("notional above", "right"), Column("up to", "right"), Column("rate", "right"))
    lower = [0.0, *(tier.notional_max for tier in found.tiers)]
    rows = [
        (number(low), number(tier.notional_max), percent(tier.rate), number(tier.amount))
        for low, tier in zip(lower, found.tiers, strict=False)
    ]
    show_table((*columns, Column("amount", "right")), rows)
    typer.echo()
    say("Notional and amount in settlement currency. --toml prints these as lines of a token's file.")


def _toml(symbol: str, found: tuple[MarginTier, ...]) -> str:
    lines = ["[[legs]]", 'kind = "perpetual"', f"symbol = {json.dumps(symbol, ensure_ascii=False)}", "margin_tiers = ["]
    for tier in found:
        edge = "" if math.isinf(tier.notional_max) else f"notional_max = {_plain(tier.notional_max)}, "
        lines.append(f"  {{ {edge}rate = {_plain(tier.rate)}, amount = {_plain(tier.amount)} }},")
    return "\n".join([*lines, "]"])


def _plain(value: float) -> str:
    """A number as TOML that reads back as the same float; whole ones without a point."""
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(value)
