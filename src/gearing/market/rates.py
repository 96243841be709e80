"""Reference rates and dividends: what swaps are financed at, what cash earns, what an underlying pays out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import polars as pl

from gearing.errors import DataError, InputError
from gearing.market.files import arrays_of, blamed, say
from gearing.market.reading.names import NAMES, Role, TableKind, fold
from gearing.market.reading.options import Columns, ReadOptions
from gearing.market.reading.table import Table, read_table
from gearing.market.series import Floats, Times, TimeSeries, check_figures, spacing_ms
from gearing.market.times import DAY_MS, duration_text

# A rate of more than 100 % a year has not been one of a reference since rates are published.
_FRACTION_MAX = 1.0
_NOTED_FRACTION = 0.2
# What Gearing calls rates; of others, the size alone tells the unit.
_FRACTION_NAMES = ("rate", "interestrate")
_PERCENT_NAMES = ("ratepct", "ratepercent", "rate%", "yieldpct", "percentrate")


@dataclass(frozen=True, eq=False, repr=False)
class Rates(TimeSeries):
    """A yearly reference rate, each value with the moment it was known; it holds until the next one.

    Args:
        times_ms: moments, ms UTC, strictly increasing, shape (n,).
        rates: per year, a fraction (0.05 is 5 %), |rate| < 1, shape (n,).
        symbol: what it is.
        notes: what was done to read it beyond plain reading, as sentences.
        lag_ms: how long after its stamp in the table each was known.

    Raises:
        SeriesError: the arrays contradict each other or hold what no rate can be; with the row and its time.
    """

    rates: Floats
    symbol: str = ""
    notes: tuple[str, ...] = ()
    lag_ms: int = 0

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
        """A frame: time (when known) and open_time, Datetime ms UTC; rate; symbol.

        `read_rates` of it gives the same series.
        """
        stamps = self._time_columns("open_time", self.spacing_ms)
        return pl.DataFrame([*stamps, pl.Series("rate", self.rates), *self._symbol_column()])

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
        notes: what was done to read them beyond plain reading, as sentences.
        lag_ms: how long after its stamp in the table each takes effect.

    Raises:
        SeriesError: the arrays contradict each other or hold what no dividend can be; with the row and its time.
    """

    amounts: Floats
    symbol: str = ""
    notes: tuple[str, ...] = ()
    lag_ms: int = 0

    def __post_init__(self) -> None:
        check_figures(self, "amounts", "dividend", "finite and at least 0", lambda amounts: amounts >= 0)

    @property
    def frame(self) -> pl.DataFrame:
        """A frame: time (when it takes effect) and ex_date, Datetime ms UTC; amount; symbol.

        `read_dividends` of it gives the same series.
        """
        stamps = self._time_columns("ex_date", DAY_MS)
        return pl.DataFrame([*stamps, pl.Series("amount", self.amounts), *self._symbol_column()])

    def __repr__(self) -> str:
        name = f"{self.symbol}, " if self.symbol else ""
        return f"Dividends({name}{len(self):,}, {self.start} to {self.end}, {float(self.amounts.sum()):.6g} in all)"


def read_rates(
    source: Any,
    *,
    symbol: str | None = None,
    unit: Literal["fraction", "percent"] | None = None,
    stamp: Literal["open", "close"] = "open",
    time_format: str | None = None,
    columns: Columns | None = None,
    decimal: str | None = None,
) -> Rates:
    """Reads a yearly reference rate from a file, a data frame or arrays; rows without one are left out.

    Known columns, in any case: timestamp, time, date or observation_date; rate, rate_pct, yield, value, or one named
    as FRED names its series (DFF, DGS3MO), which is in percent; symbol or series.

    Args:
        source: as for `read_prices`; as arrays, (times, rates), each known at its own time; or one number.
        symbol: which series' rows, if the table holds several.
        unit: "fraction" (0.05 is 5 %) or "percent"; by default as the column's name, its percent signs or, over the
            whole series, the size of its values tells.
        stamp: "open": a rate stamped with a day is known at that day's end; "close": at its stamp.
        time_format: see `read_prices`.
        columns: see `read_prices`.
        decimal: see `read_prices`.

    Raises:
        DataError: it cannot be read, or what stands there can be no rate.

    Warns:
        DataWarning: the unit was told by the size of the rates, or something was done beyond plain reading.
    """
    if unit not in (None, "fraction", "percent"):
        raise InputError(f"unit is {unit!r}.", fix='Write "fraction" or "percent".')
    if isinstance(source, Rates):
        return source if symbol is None else replace(source, symbol=symbol)
    if isinstance(source, (int, float)) and not isinstance(source, bool):
        return Rates(np.zeros(1, np.int64), np.array([float(source)]), symbol=symbol or "constant")
    if (pair := arrays_of(source)) is not None:
        times, values = pair
        scale = 0.01 if unit == "percent" else 1.0
        return blamed("(times, rates)", lambda: Rates(times, values * scale, symbol=symbol or ""))
    table = read_table(
        source, TableKind.RATES, symbol, ReadOptions(time_format, columns, decimal), ends=stamp == "close"
    )
    rates = _fractions(table, unit)
    shift = spacing_ms(table.times_ms) if stamp == "open" else 0
    known = np.isfinite(rates)
    if not known.all():
        table.notes.add(f"{int((~known).sum()):,} rows without a rate are left out")
    told = tuple(table.notes.said)
    times = table.times_ms[known] + shift
    made = blamed(table.where, lambda: Rates(times, rates[known], symbol=table.symbol, notes=told, lag_ms=shift))
    say(made)
    return made


def _fractions(table: Table, unit: str | None) -> Floats:
    """The rates of a table as fractions."""
    number = table.columns.get(Role.RATE)
    if number is None:
        raise DataError("the column of rates is empty.", where=table.where, fix="Write its rates.")
    values, name = number.values, table.names[Role.RATE]
    if number.percent:
        return values / 100
    if unit is not None:
        return values / 100 if unit == "percent" else values
    if fold(name) in _PERCENT_NAMES:
        return values * 0.01
    largest = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 0.0
    if fold(name) not in NAMES[TableKind.RATES][Role.RATE]:
        table.notes.add(f"{name} is read as percent a year, as FRED publishes it (the highest is {largest:g} %)")
        return values / 100
    if largest > _FRACTION_MAX:
        table.notes.add(f"{name} is read as percent a year, since the highest is {largest:g}")
        return values / 100
    if largest > _NOTED_FRACTION or fold(name) not in _FRACTION_NAMES:
        table.notes.add(
            f"{name} is read as a fraction, so that the highest is {100 * largest:.4g} % a year; if it is percent, "
            "say --rates-unit percent (unit= in Python)"
        )
    return values


def read_dividends(
    source: Any,
    *,
    symbol: str | None = None,
    stamp: Literal["open", "close"] = "open",
    time_format: str | None = None,
    columns: Columns | None = None,
    decimal: str | None = None,
) -> Dividends:
    """Reads dividends from a file, a data frame or arrays; rows without one are left out.

    Known columns, in any case: ex_date, date or timestamp; dividends, dividend or amount; symbol.

    Args:
        source: as for `read_prices`; as arrays, (times, amounts), each taking effect at its own time.
        symbol: which symbol's rows, if the table holds several.
        stamp: "open": one stamped with an ex-date belongs to the price known at that day's end; "close": to the
            first price known at or after its stamp.
        time_format: see `read_prices`.
        columns: see `read_prices`.
        decimal: see `read_prices`.

    Raises:
        DataError: it cannot be read, or what stands there can be no dividend.
    """
    if isinstance(source, Dividends):
        return source if symbol is None else replace(source, symbol=symbol)
    if (pair := arrays_of(source)) is not None:
        times, values = pair
        return blamed("(times, dividends)", lambda: Dividends(times, values, symbol=symbol or ""))
    options = ReadOptions(time_format, columns, decimal)
    table = read_table(source, TableKind.DIVIDENDS, symbol, options, ends=stamp == "close")
    amounts = table.values(Role.AMOUNT)
    paid = np.zeros(0, np.bool_) if amounts is None else np.isfinite(amounts) & (amounts != 0)
    if amounts is None or not paid.any():
        raise DataError("there is no dividend in it.", where=table.where, fix="Leave dividends out, then.")
    shift, told = DAY_MS if stamp == "open" else 0, tuple(table.notes.said)
    times, values = table.times_ms[paid] + shift, amounts[paid]
    made = blamed(table.where, lambda: Dividends(times, values, symbol=table.symbol, notes=told, lag_ms=shift))
    say(made)
    return made
