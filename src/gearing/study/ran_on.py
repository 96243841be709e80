"""What a study ran on, in words: one line for each leg's series."""

from __future__ import annotations

from collections.abc import Sequence

from gearing.core.instruments import Perpetual, TotalReturnSwap
from gearing.core.token import Token
from gearing.market.legs import Held, RanOn
from gearing.market.series import Prices, Times, TimeSeries
from gearing.market.times import duration_text
from gearing.numerals import moment, percent

Rows = list[tuple[str, str]]
Runs = Sequence[tuple[Token, RanOn]]


def held_against(token: Token, ran_on: RanOn) -> str:
    """Returns what a result is held against, as the name of a figure."""
    if ran_on.underlying is None and len(token.legs) > 1:
        return "index of the legs"
    if ran_on.underlying is None and ran_on.legs[0].rolls:
        return "joined contracts"
    return "underlying"


def series_rows(runs: Runs, against: Prices | None = None, *, options: bool = False) -> Rows:
    """Returns what a study ran on, as names and words.

    Args:
        runs: its tokens, each with its series.
        against: what the result of a single token is held against.
        options: whether to name the option that gives what is missing.
    """
    legs = {
        (id(held.prices), id(held.funding)): (leg.symbol, held)
        for token, ran_on in runs
        for leg, held in zip(token.legs, ran_on.legs, strict=True)
    }
    perpetuals = {
        (id(held.prices), id(held.funding)): (leg.symbol, held, ran_on.times_ms)
        for token, ran_on in runs
        for leg, held in zip(token.legs, ran_on.legs, strict=True)
        if isinstance(leg, Perpetual)
    }
    priced = [_priced(held, name if len(legs) > 1 else "") for name, held in legs.values()]
    rows = [("prices" if k == 0 else "", text) for k, text in enumerate(dict.fromkeys(priced))]
    if perpetuals:
        all_in = len(runs) == 1 and runs[0][0].fees.all_in
        rows += _funding_rows(list(perpetuals.values()), all_in=all_in, options=options)
    rows += _dividend_rows(runs)
    rows += _rate_rows(runs, options=options)
    token, ran_on = runs[0]
    if ran_on.underlying is not None:
        rows.append(("held against", _series_words(ran_on.underlying)))
    elif against is not None and len(token.legs) > 1:
        rows.append(("held against", f"their index, {_series_words(against)}"))
    elif against is not None and ran_on.legs[0].rolls:
        rows.append(("held against", "the contracts joined without jumps"))
    return rows


def due(series: TimeSeries, times_ms: Times) -> int:
    """Returns how many moments of a series fall into a run; one at its first price is not due."""
    stamps = series.times_ms
    return int(((stamps > times_ms[0]) & (stamps <= times_ms[-1])).sum())


def _series_words(prices: Prices, name: str = "") -> str:
    other = f" ({prices.symbol})" if name and prices.symbol not in ("", name) else ""
    name = f"{name or prices.symbol}{other}, " if name or prices.symbol else ""
    bars = f"{name}{count(len(prices), 'bar')} of {duration_text(prices.spacing_ms)}"
    return f"{bars}, {moment(prices.start)} to {moment(prices.end)} UTC"


def _priced(held: Held, name: str) -> str:
    rolls = f", {count(len(held.rolls), 'roll')}" if held.rolls else ""
    return _series_words(held.prices, name) + rolls


def _funding_rows(perpetuals: list[tuple[str, Held, Times]], *, all_in: bool, options: bool) -> Rows:
    if all(held.funding is None for _, held, _ in perpetuals):
        missing = "none; give it with --funding" if options else "none was given: a real perpetual pays or receives it"
        return [("funding", missing)]
    if all_in:
        return [("funding", "not charged, the fee is all in")]
    words = []
    for name, held, times in perpetuals:
        known = "none" if held.funding is None else count(due(held.funding, times), "settlement")
        words.append(f"{name or held.prices.symbol}, {known}" if len(perpetuals) > 1 else known)
    return [("funding" if k == 0 else "", text) for k, text in enumerate(dict.fromkeys(words))]


def _dividend_rows(runs: Runs) -> Rows:
    found = {}
    for token, ran_on in runs:
        for leg, held in zip(token.legs, ran_on.legs, strict=True):
            if held.dividends is not None:
                name = leg.symbol or held.dividends.symbol
                paid = count(due(held.dividends, ran_on.times_ms), "payment")
                found[id(held.dividends)] = f"{name}, {paid}" if name else paid
    return [("dividends" if k == 0 else "", text) for k, text in enumerate(found.values())]


def _rate_rows(runs: Runs, *, options: bool) -> Rows:
    for _, ran_on in runs:
        if (rates := ran_on.rates) is not None:
            mean = f"{percent(float(rates.at(ran_on.times_ms).mean()))} a year"
            return [("rates", f"{rates.symbol or 'given'}, {mean}{' on average' if len(rates) > 1 else ''}")]
    if any(isinstance(leg, TotalReturnSwap) for token, _ in runs for leg in token.legs):
        missing = "none; give them with --rates" if options else "none were given: a real swap pays a rate too"
        return [("rates", missing)]
    return []


def count(number: int, thing: str) -> str:
    """Returns a number with its thing: "1 roll", "3 rolls"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
