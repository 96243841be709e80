"""Where prices come from: a feed yields the quotes of one instant after another, and knows settlements to come."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import AsyncIterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from gearing.core.record import DAY_MS
from gearing.desk.clock import Clock
from gearing.errors import InputError
from gearing.market.endless import ORIGIN_MS, EndlessMarket
from gearing.market.files import read_funding, read_prices
from gearing.market.reading.names import TableKind
from gearing.market.reading.table import symbols_in
from gearing.market.series import Floats, Prices, Times, spacing_ms
from gearing.venues.protocol import Quote

_HOUR_MS = 3_600_000
_INTERVAL_MS = 8 * _HOUR_MS


class Settlement(NamedTuple):
    """A settlement of funding; a positive rate is paid by longs."""

    symbol: str
    time_ms: int
    rate: float


class Feed(Protocol):
    """A source of prices. One of a real exchange has the same face; its settlements are the venue's own affair."""

    symbols: tuple[str, ...]
    # The first time at which every symbol has a price, and the last; ∞ where it does not end.
    first_ms: int
    # When each symbol's prices begin.
    starts_ms: dict[str, int]
    last_ms: float
    # The usual time between two prices.
    every_ms: int
    # Whether its prices predict the rate of the next funding settlement.
    predicts_funding: bool

    def quotes_at(self, time_ms: int) -> list[Quote]:
        """Returns the last price of every symbol known at a time, dated with that time."""
        ...

    def settlements(self, after_ms: int, until_ms: int) -> list[Settlement]:
        """Returns the settlements in (after, until], by time; none where the venue settles by itself."""
        ...

    def batches(self, clock: Clock) -> AsyncIterator[list[Quote]]:
        """Yields prices from the clock's time on, as they come; ends where the feed does."""
        ...


class SyntheticFeed:
    """The endless market, looked at every so often.

    Args:
        market: the market.
        every_ms: between two looks, in the market's time.
    """

    def __init__(self, market: EndlessMarket, every_ms: int) -> None:
        self.market, self.every_ms, self.predicts_funding = market, every_ms, True
        self.symbols = tuple(coin.symbol for coin in market.coins)
        self._volumes = tuple(coin.volume for coin in market.coins)
        self._predicted = lru_cache(maxsize=1)(self._rates_of)
        self.first_ms, self.last_ms = ORIGIN_MS + DAY_MS, math.inf
        self.starts_ms = dict.fromkeys(self.symbols, self.first_ms)

    def quotes_at(self, time_ms: int) -> list[Quote]:
        """See `Feed`."""
        marks, indexes = self.market.marks(time_ms).tolist(), self.market.indexes(time_ms).tolist()
        rates, due_ms = self._predicted(time_ms // _HOUR_MS), (time_ms // _INTERVAL_MS + 1) * _INTERVAL_MS
        return [
            Quote(symbol=symbol, time_ms=time_ms, mark=mark, index=index, volume_24h=volume, funding_rate=rate,
                  funding_ms=due_ms)
            for symbol, mark, index, volume, rate in zip(
                self.symbols, marks, indexes, self._volumes, rates, strict=True
            )
        ]  # fmt: skip

    def _rates_of(self, hour: int) -> list[float]:
        """Returns the funding rates that the last full hour lets one expect."""
        rates: list[float] = self.market.funding_rates(hour * _HOUR_MS).tolist()
        return rates

    def settlements(self, after_ms: int, until_ms: int) -> list[Settlement]:
        """See `Feed`."""
        times = range((after_ms // _INTERVAL_MS + 1) * _INTERVAL_MS, until_ms + 1, _INTERVAL_MS)
        return [
            Settlement(symbol, time_ms, rate)
            for time_ms in times
            for symbol, rate in zip(self.symbols, self.market.funding_rates(time_ms).tolist(), strict=True)
        ]

    async def batches(self, clock: Clock) -> AsyncIterator[list[Quote]]:
        """See `Feed`."""
        while True:
            yield self.quotes_at(clock.now_ms())
            await clock.sleep_ms(self.every_ms)


class ReplayFeed:
    """Bars of a file, each known at its end; the mark is the close, and there is no index.

    Args:
        prices: of each symbol.
        settlements: by time.
    """

    def __init__(self, prices: list[Prices], settlements: list[Settlement]) -> None:
        self.symbols = tuple(one.symbol for one in prices)
        self._times: list[Times] = [one.times_ms for one in prices]
        self._closes: list[Floats] = [one.close for one in prices]
        self._volumes = [_daily_volume(one) for one in prices]
        self._settlements = sorted(settlements, key=lambda one: one.time_ms)
        self._due = [one.time_ms for one in self._settlements]
        self._due_of = {
            symbol: [one.time_ms for one in self._settlements if one.symbol == symbol] for symbol in self.symbols
        }
        self.starts_ms = {one.symbol: int(one.times_ms[0]) for one in prices}
        self.first_ms = max(self.starts_ms.values())
        self.last_ms = float(max(times[-1] for times in self._times))
        self.every_ms, self.predicts_funding = max(spacing_ms(times) for times in self._times), False
        self._all: list[int] = np.unique(np.concatenate(self._times)).tolist()

    def quotes_at(self, time_ms: int) -> list[Quote]:
        """See `Feed`."""
        rows = [int(np.searchsorted(times, time_ms, side="right")) - 1 for times in self._times]
        return [self._quote(k, row, time_ms) for k, row in enumerate(rows) if row >= 0]

    def settlements(self, after_ms: int, until_ms: int) -> list[Settlement]:
        """See `Feed`."""
        return self._settlements[bisect_right(self._due, after_ms) : bisect_right(self._due, until_ms)]

    async def batches(self, clock: Clock) -> AsyncIterator[list[Quote]]:
        """See `Feed`."""
        for time_ms in self._all[bisect_right(self._all, clock.now_ms()) :]:
            await clock.sleep_ms(time_ms - clock.now_ms())
            rows = [int(np.searchsorted(times, time_ms)) for times in self._times]
            yield [
                self._quote(k, row, time_ms)
                for k, (row, times) in enumerate(zip(rows, self._times, strict=True))
                if row < len(times) and times[row] == time_ms
            ]

    def _quote(self, k: int, row: int, time_ms: int) -> Quote:
        # What a record says is taken for what it is, as a backtest takes it: there is no second source to ask. It says
        # when funding is settled next, and predicts no rate: nobody knew it then.
        mark, symbol = float(self._closes[k][row]), self.symbols[k]
        due = self._due_of[symbol]
        following = bisect_right(due, time_ms)
        return Quote(symbol=symbol, time_ms=time_ms, mark=mark, index=mark, volume_24h=float(self._volumes[k][row]),
                     funding_ms=due[following] if following < len(due) else 0)  # fmt: skip


def read_replay(prices: Path, funding: Path | None, symbol: str) -> ReplayFeed:
    """Returns the feed of a file of bars and a file of settlements.

    Args:
        prices: bars, with a symbol column or of one symbol.
        funding: settlements, likewise; None: none are paid.
        symbol: of a file that names none.

    Raises:
        InputError: a file cannot be read, or names no symbol.
    """
    names = _names(prices, TableKind.PRICES, symbol)
    bars = [read_prices(prices, symbol=name) for name in names]
    settlements: list[Settlement] = []
    if funding is not None:
        for name in _names(funding, TableKind.FUNDING, symbol):
            series = read_funding(funding, symbol=name)
            rows = zip(series.times_ms.tolist(), series.rates.tolist(), strict=True)
            settlements += [Settlement(name, time_ms, rate) for time_ms, rate in rows]
    return ReplayFeed(bars, settlements)


def _names(file: Path, kind: TableKind, symbol: str) -> list[str]:
    found = symbols_in(file, kind)
    if found is not None:
        return found
    if not symbol:
        raise InputError("the file does not say which symbol it is of.", where=str(file),
                         fix='Write its symbol into [feed]: symbol = "BTCUSDT".')  # fmt: skip
    return [symbol]


def _daily_volume(prices: Prices) -> Floats:
    """Returns what was traded in the 24 h up to each bar, as a backtest has it; zeros where no volume is known."""
    return np.zeros(len(prices.times_ms)) if prices.volume is None else prices.index.volume_24h
