"""What a backtest ran on, as JSON: one block for each leg's series."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gearing.market.series import Prices
    from gearing.study.result import Result


def series_payload(result: Result) -> dict[str, Any]:
    """Returns what a backtest ran on, for JSON: of one leg as one block each, of several as lists."""
    from gearing.study.ran_on import due

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


def _block(symbol: str, prices: Prices) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "bars": len(prices),
        "spacing_ms": prices.spacing_ms,
        "start": prices.start,
        "end": prices.end,
    }
