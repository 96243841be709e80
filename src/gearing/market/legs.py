"""The series of a token's legs on one time axis: the union of their times, the last price held."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import narwhals as nw
import numpy as np

from gearing.core.instruments import DatedFuture, Leg, Perpetual, TotalReturnSwap
from gearing.core.record import DAY_MS
from gearing.core.token import Token
from gearing.errors import DataError, DataWarning
from gearing.kernels.calendar import bars_at, clocks_of, settlement_bars
from gearing.kernels.legs_market import LegCalendar, LegDues, LegMarket, build_leg_calendar, build_leg_market
from gearing.market.files import check_overlap, read_funding, read_prices
from gearing.market.rates import Dividends, Rates, read_dividends, read_rates
from gearing.market.reading.table import names_symbols
from gearing.market.series import Floats, Funding, Prices, Times, TimeSeries, spacing_ms
from gearing.market.symbols import check_underlying
from gearing.market.times import iso, moment_ms

_NONE = (np.empty(0, np.int64), np.empty(0))
_SATURDAY, _MONDAY = 2, 4


class Roll(NamedTuple):
    """One roll of a chain: when, and the old contract's last price with the low and high of that bar."""

    time_ms: int
    price: float
    low: float
    high: float


class Held(NamedTuple):
    """One leg's series.

    Args:
        prices: of the leg; of a chain of contracts, each until its roll.
        rolls: of the chain, in order of time.
        funding: settlements, or None.
        dividends: of the underlying, or None.
    """

    prices: Prices
    rolls: tuple[Roll, ...] = ()
    funding: Funding | None = None
    dividends: Dividends | None = None


class RanOn(NamedTuple):
    """What a token ran on.

    Args:
        times_ms: the moments of the run, ms UTC.
        legs: each leg's series, in the order of the token's legs.
        rates: the reference rate that was used, or None.
        underlying: the price that was given to hold results against, or None.
    """

    times_ms: Times
    legs: tuple[Held, ...]
    rates: Rates | None = None
    underlying: Prices | None = None


class Sources(NamedTuple):
    """What a study is given: one series, or one for each name. See `backtest` for what each may be."""

    prices: Any
    funding: Any = None
    dividends: Any = None
    rates: Any = None
    underlying: Any = None

    def of(self, token: Token) -> LegSeries:
        """Returns the series of a token's legs on one time axis.

        Raises:
            DataError: a leg has no prices, or the legs have no time in common.
        """
        held = [self._held(leg, alone=len(token.legs) == 1) for leg in token.legs]
        if self.rates is None and any(isinstance(leg, TotalReturnSwap) for leg in token.legs):
            _warn("no reference rate is given, so swaps pay their spread alone")
        rates = None if self.rates is None else _read(self.rates, read_rates, None)
        against = None if self.underlying is None else _read(self.underlying, read_prices, None)
        return LegSeries(held, rates, against)

    def _read_prices(self, source: Any, symbol: str | None = None) -> Prices:
        # Dividends are paid beside raw closes; adjusted ones have them already.
        return read_prices(source, symbol=symbol, adjusted=self.dividends is None)

    def _held(self, leg: Leg, *, alone: bool) -> Held:
        if isinstance(leg, DatedFuture) and leg.contracts:
            prices, rolls = self._chain(leg)
        else:
            prices, rolls = named(self.prices, leg.symbol, self._read_prices, "prices", alone=alone), ()
        funding = None
        if isinstance(leg, Perpetual):
            funding = named(self.funding, leg.symbol, read_funding, "funding", alone=alone)
        if funding is not None:
            check_overlap(prices, funding)
        dividends = named(self.dividends, leg.symbol, read_dividends, "dividends", alone=alone)
        if dividends is not None:
            _check_dividends(prices, dividends)
        return Held(prices, rolls, funding, dividends)

    def _chain(self, leg: DatedFuture) -> tuple[Prices, tuple[Roll, ...]]:
        """Returns the prices of a chain, each contract's until it is rolled, and the rolls."""
        series = [named(self.prices, c.symbol, self._read_prices, "prices", alone=False) for c in leg.contracts]
        lead_ms = round(leg.roll_days * DAY_MS)
        rolls: list[Roll] = []
        parts = [series[0]]
        for (old, new), contract in zip(pairwise(series), leg.contracts, strict=False):
            due = moment_ms(contract.expiry) - lead_ms
            times = old.times_ms
            at = int(np.searchsorted(times, due))
            if at == len(times):
                raise DataError(
                    f"its prices end {old.end}, before the roll is due, {iso(due)}.",
                    where=contract.symbol,
                    fix="Give prices up to the roll, or roll earlier.",
                )
            instant = int(times[at])
            known = int(np.searchsorted(new.times_ms, instant, side="right")) - 1
            if known < 0:
                raise DataError(
                    f"its prices begin {new.start}, after the roll into it, {iso(instant)}.",
                    where=new.symbol,
                    fix="Give prices from the roll on, or roll later.",
                )
            price = float(old.close[at])
            low = price if old.low is None else float(old.low[at])
            high = price if old.high is None else float(old.high[at])
            rolls.append(Roll(instant, price, low, high))
            parts.append(new)
        return _spliced(parts, [roll.time_ms for roll in rolls], leg.symbol), tuple(rolls)


def _spliced(parts: list[Prices], instants: list[int], symbol: str) -> Prices:
    """Returns one series: at a roll the new contract's close, with the old one's open, low and high."""
    columns = [name for name in ("open", "high", "low", "volume") if all(getattr(p, name) is not None for p in parts)]
    times: list[Times] = []
    kept: dict[str, list[Floats]] = {name: [] for name in ("close", *columns)}
    for k, part in enumerate(parts):
        first = 0 if k == 0 else int(np.searchsorted(part.times_ms, instants[k - 1], side="right"))
        last = len(part) if k == len(parts) - 1 else int(np.searchsorted(part.times_ms, instants[k], side="right"))
        times.append(part.times_ms[first:last])
        for name, values in kept.items():
            values.append(getattr(part, name)[first:last].copy())
        if k < len(parts) - 1:
            after = parts[k + 1]
            kept["close"][-1][-1] = after.close[int(np.searchsorted(after.times_ms, instants[k], side="right")) - 1]
    joined: dict[str, Any] = {name: np.concatenate(values) for name, values in kept.items()}
    # The bar of a roll has the old contract's range and the new one's close, which need not contain each other.
    for name, widest in (("low", np.minimum), ("high", np.maximum)):
        if name in joined:
            joined[name] = widest(joined[name], joined["close"])
    return Prices(np.concatenate(times), symbol=symbol, **joined)


class LegSeries:
    """The series of K legs on one time axis, indexed once.

    Args:
        held: each leg's series.
        rates: the reference rate, or None.
        underlying: the price that results are held against, or None: the index of the legs.

    Raises:
        DataError: the legs have no time in common.
    """

    def __init__(self, held: list[Held], rates: Rates | None, underlying: Prices | None) -> None:
        self.held, self.rates, self.given = held, rates, underlying
        sources = [leg.prices for leg in held] + ([] if underlying is None else [underlying])
        start = max(int(source.times_ms[0]) for source in sources)
        times = np.unique(np.concatenate([leg.prices.times_ms for leg in held]))
        self.times_ms: Times = times[times >= start]
        if not len(self.times_ms) or any(int(source.times_ms[-1]) < start for source in sources):
            spans = ", ".join(f"{s.symbol or 'prices'} {s.start} to {s.end}" for s in sources)
            raise DataError(f"the legs have no time in common: {spans}.", fix="Give series of one period.")
        self.spacing_ms = spacing_ms(self.times_ms)
        last = int(self.times_ms[-1])
        for source in sources:
            if last - int(source.times_ms[-1]) > max(DAY_MS, 2 * source.spacing_ms):
                _warn(f"{source.symbol or 'a series'} ends {source.end}; its last price is held to {iso(last)}")
        self.underlying = None if underlying is None else self._aligned(underlying)

    def _rows(self, prices: Prices) -> Times:
        """Returns, for each common time, the row of a series that was last known."""
        return np.searchsorted(prices.times_ms, self.times_ms, side="right") - 1

    def _aligned(self, prices: Prices) -> Prices:
        """Returns a series at the common times; a bar in which nothing was known stands still."""
        if np.array_equal(prices.times_ms, self.times_ms):
            return prices
        rows = self._rows(prices)
        fresh = prices.times_ms[rows] == self.times_ms
        close = prices.close[rows]
        columns: dict[str, Any] = {"close": close}
        for name in ("open", "high", "low"):
            if (values := getattr(prices, name)) is not None:
                columns[name] = np.where(fresh, values[rows], close)
        if prices.volume is not None:
            columns["volume"] = np.where(fresh, prices.volume[rows], 0.0)
        return replace(prices, times_ms=self.times_ms, **columns)

    @cached_property
    def legs(self) -> list[Prices]:
        """The prices of each leg at the common times."""
        return [self._aligned(leg.prices) for leg in self.held]

    @cached_property
    def index(self) -> LegMarket:
        """The prices as compiled code sees them."""
        first = self.legs[0]
        bars = None
        if len(self.legs) == 1 and first.low is not None and first.high is not None:
            low, high = first.low.copy(), first.high.copy()
            for roll in self.held[0].rolls:
                bar = int(np.searchsorted(self.times_ms, roll.time_ms))
                if bar < len(self.times_ms):
                    low[bar], high[bar] = roll.low, roll.high
            bars = (first.close if first.open is None else first.open, low, high)
        volumes = [leg.volume for leg in self.legs]
        known = [np.zeros(len(self.times_ms)) if v is None else v for v in volumes]
        return build_leg_market(
            self.times_ms,
            [leg.close for leg in self.legs],
            bars=bars,
            volumes=None if all(v is None for v in volumes) else known,
            spacings_ms=[leg.prices.spacing_ms for leg in self.held],
            underlying=None if self.underlying is None else self.underlying.close,
        )

    @cached_property
    def _calendars(self) -> dict[object, LegCalendar]:
        return {}

    def calendar(self, schedules: tuple[tuple[int, ...], ...]) -> LegCalendar:
        """Returns when clocks wake the token; made once for each set of schedules."""
        if schedules not in self._calendars:
            dues = [self._dues(leg) for leg in self.held]
            rates = None if self.rates is None else self.rates.at(self.times_ms)
            clocks = clocks_of(self.times_ms, self.spacing_ms, schedules)
            self._calendars[schedules] = build_leg_calendar(self.times_ms, clocks, dues, rates)
        return self._calendars[schedules]

    def _dues(self, leg: Held) -> LegDues:
        funding = _NONE
        if leg.funding is not None:
            funding = settlement_bars(self.times_ms, self.spacing_ms, leg.funding.times_ms, leg.funding.rates)
        dividends = _NONE
        if leg.dividends is not None:
            dividends = self._bars_within(leg.dividends.times_ms, leg.dividends.amounts)
        rolls = _NONE
        if leg.rolls:
            instants = np.array([roll.time_ms for roll in leg.rolls], dtype=np.int64)
            rolls = self._bars_within(instants, np.array([roll.price for roll in leg.rolls]))
        return LegDues(funding, dividends, rolls)

    def roll_bars(self) -> list[list[tuple[int, float]]]:
        """Returns the bars of each leg's rolls with the old contract's prices; bars below 1: before the run."""
        found = []
        for leg in self.held:
            instants = np.array([roll.time_ms for roll in leg.rolls], dtype=np.int64)
            bars = bars_at(self.times_ms, self.spacing_ms, instants).tolist()
            found.append([(bar, roll.price) for bar, roll in zip(bars, leg.rolls, strict=True)])
        return found

    def _bars_within(self, instants: Times, values: Floats) -> tuple[Times, Floats]:
        bars = bars_at(self.times_ms, self.spacing_ms, instants)
        kept = (bars > 0) & (bars < len(self.times_ms))
        return bars[kept], values[kept]


def _check_dividends(prices: Prices, dividends: Dividends) -> None:
    """Checks that dividends are not in the prices already, and belong to the same days.

    Raises:
        DataError: the prices are adjusted for dividends.
    """
    if prices.is_adjusted:
        what = "the prices are adjusted closes, which hold the dividends already."
        raise DataError(
            what, where=prices.symbol or "prices", fix="Read them with adjusted=False, or give no dividends."
        )
    # Closes of a listed market stand at its weekdays where a close has its own date, at Tuesday to Saturday where it is
    # known at the day's end. Day 0 of the epoch was a Thursday.
    days = set((prices.times_ms // DAY_MS % 7).tolist())
    at_dates = prices.spacing_ms >= DAY_MS and _MONDAY in days and _SATURDAY not in days
    if dividends.lag_ms and not prices.lag_ms and at_dates:
        _warn("dividends stamped with a day belong to its end, but the prices are known at their stamps; "
              'say stamp="close" of both, if a day\'s close stands at its date')  # fmt: skip


def named(given: Any, name: str, read: Any, what: str, *, alone: bool) -> Any:
    """Returns the series of one name out of what was given for all of them."""
    if given is None:
        return None
    if isinstance(given, Mapping):
        if name in given:
            return None if given[name] is None else _read(given[name], read, name)
        if alone and len(given) == 1:
            return _own(_read(next(iter(given.values())), read, None), name, what)
        if what == "prices":
            known = ", ".join(map(repr, given)) or "none"
            raise DataError(f"there are no prices for {name!r}.", where=what, fix=f"There are prices for {known}.")
        return None
    if alone:
        return _own(_read(given, read, None), name, what)
    if isinstance(given, (TimeSeries, tuple, list)) or not names_symbols(given):
        mend = f'Give a dictionary with one for each: {{"{name}": ..., ...}}.'
        raise DataError(f"one series of {what} is given where each leg or contract has its own.", where=what, fix=mend)
    try:
        return _read(given, read, name)
    except DataError as error:
        # Only the absence of a leg's own series is no fault of what was given.
        if what == "prices" or not error.what.startswith("there is no symbol"):
            raise
        _warn(f"{name} has no {what}; none is charged")
        return None


def _own(series: Any, name: str, what: str) -> Any:
    """Returns the only series given; prices of something else than the leg are refused."""
    if what == "prices" or (what == "dividends" and series is not None):
        check_underlying(name, series.symbol, what)
    return series


def _read(given: Any, read: Any, name: str | None) -> Any:
    """Returns a series as it is, or reads it; a table that holds several symbols is asked for the name."""
    if isinstance(given, TimeSeries):
        return given
    if name is None or isinstance(given, (tuple, list)) or nw.dependencies.is_pandas_series(given):
        return read(given)
    return read(given, symbol=name if names_symbols(given) else None)


def _warn(message: str) -> None:
    warnings.warn(message, DataWarning, stacklevel=4)
