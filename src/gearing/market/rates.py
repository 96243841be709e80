"""Reference rates and dividends: what swaps are financed at, what cash earns, what an underlying pays out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import polars as pl

from gearing.errors import DataError
from gearing.market.files import arrays_of, blamed
from gearing.market.series import Floats, Times, TimeSeries, check_figures, spacing_ms
from gearing.market.tables import DIVIDEND_COLUMNS, RATE_COLUMNS, columns_of, floats, read_table
from gearing.market.times import DAY_MS, column_ms, duration_text


@dataclass(frozen=True, eq=False, repr=False)
class Rates(TimeSeries):
    """A yearly reference rate, each value with the moment it was known; it holds until the next one.

    Args:
        times_ms: moments, ms UTC, strictly increasing, shape (n,).
        rates: per year, a fraction (0.05 is 5 %), |rate| < 1, shape (n,).
        symbol: what it is.

    Raises:
        SeriesError: the arrays contradict each other or hold what no rate can be; with the row and its time.
    """

    rates: Floats
    symbol: str = ""

    _holds = True

    def __post_init__(self) -> None:
        expected = "finite and between -1 and 1 (a fraction: 0.05 is 5 % a year)"
        check_figures(self, "rates", "yearly rate", expected, lambda rates: np.abs(rates) < 1)

    def at(self, times_ms: Times) -> Floats:
        """Returns the last rate known at or before each moment; 0 before the first."""
        found = np.searchsorted(self.times_ms, times_ms, side="right") - 1
        return np.where(found >= 0, self.rates[np.maximum(found, 0)], 0.0)

    @property
    def frame(self) -> pl.DataFrame:
        """A frame: time (when known, Datetime ms UTC), rate."""
        return pl.DataFrame([self._time_column(), pl.Series("rate", self.rates)])

    def __repr__(self) -> str:
        name = f"{self.symbol}, " if self.symbol else ""
        mean = float(self.rates.mean()) * 100
        spacing = duration_text(self.spacing_ms)
        return f"Rates({name}{len(self):,} × {spacing}, {self.start} to {self.end}, mean {mean:.3g} %)"


@dataclass(frozen=True, eq=False, repr=False)
class Dividends(TimeSeries):
    """What an underlying pays out per unit.

    Args:
        times_ms: when the price is first without it, ms UTC, strictly increasing, shape (n,).
        amounts: per unit of the underlying, ≥ 0, in the currency of its price, shape (n,).
        symbol: what pays them.

    Raises:
        SeriesError: the arrays contradict each other or hold what no dividend can be; with the row and its time.
    """

    amounts: Floats
    symbol: str = ""

    def __post_init__(self) -> None:
        check_figures(self, "amounts", "dividend", "finite and at least 0", lambda amounts: amounts >= 0)

    @property
    def frame(self) -> pl.DataFrame:
        """A frame: time (Datetime ms UTC), amount."""
        return pl.DataFrame([self._time_column(), pl.Series("amount", self.amounts)])

    def __repr__(self) -> str:
        name = f"{self.symbol}, " if self.symbol else ""
        return f"Dividends({name}{len(self):,}, {self.start} to {self.end}, {float(self.amounts.sum()):.6g} in all)"


def read_rates(
    source: Any,
    *,
    symbol: str | None = None,
    unit: Literal["fraction", "percent"] | None = None,
    stamp: Literal["open", "close"] = "open",
) -> Rates:
    """Reads a yearly reference rate from a file, a data frame or arrays.

    Known columns, in any case: timestamp, time or date; rate, rate_pct, yield, value; symbol or series.

    Args:
        source: as for `read_prices`; as arrays, (times, rates), each known at its own time; or one number.
        symbol: which series' rows, if the table holds several.
        unit: "fraction" (0.05 is 5 %) or "percent"; by default percent for a column `rate_pct`, else fraction.
        stamp: "open": a rate stamped with a day is known at that day's end; "close": at its stamp.

    Raises:
        DataError: it cannot be read, or what stands there can be no rate.
    """
    if isinstance(source, Rates):
        return source if symbol is None else replace(source, symbol=symbol)
    if isinstance(source, (int, float)) and not isinstance(source, bool):
        return Rates(np.zeros(1, np.int64), np.array([float(source)]), symbol=symbol or "constant")
    if (pair := arrays_of(source)) is not None:
        times, values = pair
        scale = 0.01 if unit == "percent" else 1.0
        return blamed("(times, rates)", lambda: Rates(times, values * scale, symbol=symbol or ""))
    given = unit
    frame, name, where = read_table(source, RATE_COLUMNS, "rate", symbol)
    stamps = frame_times(frame, where)
    rates = floats(frame["rate"], "rate", where)
    if rates is None:
        raise DataError("the column of rates is empty.", where=where, fix="Write its rates.")
    if given is None:
        given = "percent" if is_percent(source) else "fraction"
    shift = spacing_ms(stamps) if stamp == "open" else 0
    scale = 0.01 if given == "percent" else 1.0
    return blamed(where, lambda: Rates(stamps + shift, rates * scale, symbol=name))


def is_percent(source: Any) -> bool:
    """Returns whether a table says by the name of its column that its rates are in percent."""
    folded = [name.strip().lower() for name in columns_of(source)]
    return "rate" not in folded and "rate_pct" in folded


def frame_times(frame: pl.DataFrame, where: str) -> Times:
    """Returns the times of a table in ms UTC."""
    return column_ms(frame["time"], f"{where}, column time")


def read_dividends(source: Any, *, symbol: str | None = None, stamp: Literal["open", "close"] = "open") -> Dividends:
    """Reads dividends from a file, a data frame or arrays; rows without one are left out.

    Known columns, in any case: ex_date, date or timestamp; dividends, dividend or amount; symbol.

    Args:
        source: as for `read_prices`; as arrays, (times, amounts), each taking effect at its own time.
        symbol: which symbol's rows, if the table holds several.
        stamp: "open": one stamped with an ex-date belongs to the price known at that day's end; "close": to the
            first price known at or after its stamp.

    Raises:
        DataError: it cannot be read, or what stands there can be no dividend.
    """
    if isinstance(source, Dividends):
        return source if symbol is None else replace(source, symbol=symbol)
    if (pair := arrays_of(source)) is not None:
        times, values = pair
        return blamed("(times, dividends)", lambda: Dividends(times, values, symbol=symbol or ""))
    frame, name, where = read_table(source, DIVIDEND_COLUMNS, "amount", symbol)
    stamps = frame_times(frame, where)
    amounts = floats(frame["amount"], "amount", where)
    paid = np.zeros(0, np.bool_) if amounts is None else amounts != 0
    if amounts is None or not paid.any():
        raise DataError("there is no dividend in it.", where=where, fix="Leave dividends out, then.")
    shift = DAY_MS if stamp == "open" else 0
    return blamed(where, lambda: Dividends(stamps[paid] + shift, amounts[paid], symbol=name))
