"""What a study ran on, in lines for people and as JSON: one line for each leg's series."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gearing.cli.output import count
from gearing.numerals import moment, percent

if TYPE_CHECKING:
    from gearing.core.token import Token
    from gearing.market.legs import Held, RanOn
    from gearing.market.series import Prices, Times, TimeSeries
    from gearing.study.result import Result

Rows = list[tuple[str, str]]
Runs = Sequence["tuple[Token, RanOn]"]


def held_against(token: Token, ran_on: RanOn) -> str:
    """Returns what a result is held against, as the name of a figure."""
    if ran_on.underlying is None and len(token.legs) > 1:
        return "index of the legs"
    if ran_on.underlying is None and ran_on.legs[0].rolls:
        return "joined contracts"
    return "underlying"


def series_rows(runs: Runs, against: Prices | None = None) -> Rows:
    """Returns what a study ran on, as names and words.

    Args:
        runs: its tokens, each with its series.
        against: what the result of a single token is held against; told where it is no leg's own series.
    """
    from gearing.core.instruments import Perpetual

    legs = {(id(held.prices), id(held.funding)): held for _, ran_on in runs for held in ran_on.legs}
    perpetuals = {
        (id(held.prices), id(held.funding)): (leg.symbol, held, ran_on.times_ms)
        for token, ran_on in runs
        for leg, held in zip(token.legs, ran_on.legs, strict=True)
        if isinstance(leg, Perpetual)
    }
    rows = [("prices" if k == 0 else "", _priced(held)) for k, held in enumerate(legs.values())]
    if perpetuals:
        all_in = len(runs) == 1 and runs[0][0].fees.all_in
        rows += _funding_rows(list(perpetuals.values()), all_in=all_in)
    rows += _dividend_rows(runs)
    _, first = runs[0]
    if any(ran_on.rates is not None for _, ran_on in runs):
        rates = next(ran_on.rates for _, ran_on in runs if ran_on.rates is not None)
        mean = percent(float(rates.at(first.times_ms).mean()))
        rows.append(("rates", f"{rates.symbol or 'given'}, {mean} a year on average"))
    if against is not None and not any(against is held.prices for held in legs.values()):
        rows.append(("held against", _series_words(against)))
    elif against is None and first.underlying is not None:
        rows.append(("held against", _series_words(first.underlying)))
    return rows


def series_payload(result: Result) -> dict[str, Any]:
    """Returns what a backtest ran on, for JSON: of one leg as one block each, of several as lists."""
    ran_on, several = result.ran_on, len(result.token.legs) > 1
    names = [leg.symbol if several else held.prices.symbol
             for leg, held in zip(result.token.legs, ran_on.legs, strict=True)]  # fmt: skip
    prices = [_block(name, held.prices) for name, held in zip(names, ran_on.legs, strict=True)]
    funding = [
        {"symbol": name if several else held.funding.symbol, "settlements": due(held.funding, ran_on.times_ms)}
        for name, held in zip(names, ran_on.legs, strict=True)
        if held.funding is not None
    ]
    dividends = [
        {"symbol": name if several else held.dividends.symbol, "payments": due(held.dividends, ran_on.times_ms)}
        for name, held in zip(names, ran_on.legs, strict=True)
        if held.dividends is not None
    ]
    rates = ran_on.rates
    rate = None if rates is None else {"symbol": rates.symbol, "mean": float(rates.at(ran_on.times_ms).mean())}
    against = None if ran_on.underlying is None else _block(ran_on.underlying.symbol, ran_on.underlying)
    if several:
        index = _block(result.prices.symbol, result.prices)
        return {"prices": prices, "funding": funding, "dividends": dividends, "rates": rate, "held_against": index}
    more = {"dividends": dividends[0] if dividends else None, "rates": rate, "held_against": against}
    blocks = {"prices": prices[0], "funding": funding[0] if funding else None}
    return blocks | {name: block for name, block in more.items() if block is not None}


def due(series: TimeSeries, times_ms: Times) -> int:
    """Returns how many moments of a series fall into a run; one at its first price is not due."""
    stamps = series.times_ms
    return int(((stamps > times_ms[0]) & (stamps <= times_ms[-1])).sum())


def _block(symbol: str, prices: Prices) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "bars": len(prices),
        "spacing_ms": prices.spacing_ms,
        "start": prices.start,
        "end": prices.end,
    }


def _series_words(prices: Prices) -> str:
    from gearing.market.times import duration_text

    name = f"{prices.symbol}, " if prices.symbol else ""
    bars = f"{name}{count(len(prices), 'bar')} of {duration_text(prices.spacing_ms)}"
    return f"{bars}, {moment(prices.start)} to {moment(prices.end)} UTC"


def _priced(held: Held) -> str:
    rolls = f", {count(len(held.rolls), 'roll')}" if held.rolls else ""
    return _series_words(held.prices) + rolls


def _funding_rows(perpetuals: list[tuple[str, Held, Times]], *, all_in: bool) -> Rows:
    if all(held.funding is None for _, held, _ in perpetuals):
        return [("funding", "none; give it with --funding")]
    if all_in:
        return [("funding", "not charged, the fee is all in")]
    words = []
    for name, held, times in perpetuals:
        known = "none" if held.funding is None else count(due(held.funding, times), "settlement")
        words.append(f"{name or held.prices.symbol}, {known}" if len(perpetuals) > 1 else known)
    return [("funding" if k == 0 else "", text) for k, text in enumerate(words)]


def _dividend_rows(runs: Runs) -> Rows:
    found = {}
    for token, ran_on in runs:
        for leg, held in zip(token.legs, ran_on.legs, strict=True):
            if held.dividends is not None:
                name = leg.symbol or held.dividends.symbol
                paid = count(due(held.dividends, ran_on.times_ms), "payment")
                found[id(held.dividends)] = f"{name}, {paid}" if name else paid
    return [("dividends" if k == 0 else "", text) for k, text in enumerate(found.values())]
