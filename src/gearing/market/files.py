"""Reading price and funding series from files, data frames and arrays."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, TypeVar

import narwhals as nw
import numpy as np
import polars as pl

from gearing.errors import DataError, DataWarning
from gearing.market.reading.funding_rates import check_size, settled, settlements
from gearing.market.reading.names import Role, TableKind
from gearing.market.reading.options import Columns, Notes, ReadOptions
from gearing.market.reading.stamps import epochs_ms, objects_ms, stamps_ms
from gearing.market.reading.table import Table, read_table
from gearing.market.reading.volumes import base_volume
from gearing.market.series import Funding, Prices, TimeSeries, spacing_ms
from gearing.market.symbols import is_same_underlying
from gearing.market.times import Moment, SeriesError, duration_text, iso

# March 1973 in seconds: no market data is older and counted in seconds.
_EARLIEST_S = 100_000_000

_Series = TypeVar("_Series", Prices, Funding)
_Made = TypeVar("_Made", bound=TimeSeries)


def read_prices(
    source: Any,
    *,
    symbol: str | None = None,
    stamp: Literal["open", "close"] = "open",
    start: Moment | None = None,
    end: Moment | None = None,
    time_format: str | None = None,
    columns: Columns | None = None,
    decimal: str | None = None,
    volume_unit: str | float | None = None,
    adjusted: bool = True,
) -> Prices:
    """Reads prices from a file, a data frame or arrays.

    docs/reference/files.md lists the shapes of files and the names of columns that are read. Whatever is done beyond
    plain reading is a note: a `DataWarning`, and one of the series' `notes`.

    Args:
        source: path of a CSV, JSON, Parquet or Feather file (also in a zip or gz); a polars, pandas, pyarrow or any
            other data frame that narwhals takes (a pandas index may hold the times); or (times, closes), and
            likewise a pandas Series of closes, of which each price was known at its own time.
        symbol: which instrument's rows, if the table holds several; else a name for the series.
        stamp: what the times of a table mean: "open", a bar is known at its stamp plus the most common
            spacing of the series (a date of daily bars: at the end of that day); "close", at its stamp.
        start: leave out what was known before it (ISO text, datetime or ms; without a zone, UTC). A day, such as
            "2020-03-12", is the day of the bars.
        end: leave out what was known at or after it.
        time_format: "day-first", "month-first", "s", "ms", "us", "ns", "excel" (days since 1900), or a strptime
            format such as "%m/%d/%y".
        columns: the names of the columns in their order ("_" leaves one out), or canonical name -> the table's own.
        decimal: "." or ",".
        volume_unit: "base" (units of the underlying), "quote", or how many units of the underlying a contract is.
        adjusted: take adjusted closes where the table has both; open, high and low are scaled alike.

    Returns:
        The prices, each with the moment it was known.

    Raises:
        DataError: it cannot be read, or what stands there can be no price series.

    Warns:
        DataWarning: rows are missing, or something was done beyond plain reading.
    """
    if stamp not in ("open", "close"):
        raise DataError(f"stamp is {stamp!r}.", fix='Write stamp="open" or stamp="close".')
    if isinstance(source, Prices):
        prices = source if symbol is None else replace(source, symbol=symbol)
    elif (pair := arrays_of(source)) is not None:
        times, values = pair
        prices = blamed("(times, prices)", lambda: Prices(times, values, symbol=symbol or ""))
    else:
        options = ReadOptions(time_format, columns, decimal, volume_unit, None, adjusted)
        prices = _bars(source, symbol, options, shift=stamp == "open")
    return _finish(prices, start, end, fresh=prices is not source)


def read_funding(
    source: Any,
    *,
    symbol: str | None = None,
    start: Moment | None = None,
    end: Moment | None = None,
    time_format: str | None = None,
    columns: Columns | None = None,
    decimal: str | None = None,
    funding_unit: str | None = None,
) -> Funding:
    """Reads funding settlements from a file, a data frame or arrays.

    docs/reference/files.md lists the shapes of files and the names of columns that are read. A rate is a fraction of
    the notional, > 0: longs pay. A settlement stamped up to 60 s after a full hour belongs to that hour.

    Args:
        source: as for `read_prices`; as arrays, (times, rates).
        symbol: which instrument's rows, if the table holds several; else a name for the series.
        start: leave out settlements before it (ISO text, datetime or ms; without a zone, UTC).
        end: leave out settlements at or after it.
        time_format: see `read_prices`.
        columns: see `read_prices`.
        decimal: see `read_prices`.
        funding_unit: what the rates are: "fraction", "percent" or "bp" of the notional per settlement, "annual" (a
            fraction per year), or "absolute" (quote currency per unit of the underlying; needs a column of marks).

    Returns:
        The settlements.

    Raises:
        DataError: it cannot be read, what stands there can be no funding series, or the unit cannot be told.

    Warns:
        DataWarning: rows are missing, or something was done beyond plain reading.
    """
    if isinstance(source, Funding):
        funding = source if symbol is None else replace(source, symbol=symbol)
    elif (pair := arrays_of(source)) is not None:
        times, values = pair
        funding = blamed("(times, rates)", lambda: Funding(settled(times), values, symbol=symbol or ""))
        notes = Notes(funding.symbol or "funding")
        check_size(funding.times_ms, funding.rates, notes, sure=True)
        funding = replace(funding, notes=tuple(notes.said))
    else:
        options = ReadOptions(time_format, columns, decimal, None, funding_unit)
        table = read_table(source, TableKind.FUNDING, symbol, options)
        when, rates = settlements(table, funding_unit)
        told = tuple(table.notes.said)
        funding = blamed(table.where, lambda: Funding(when, rates, symbol=table.symbol, notes=told))
    return _finish(funding, start, end, fresh=funding is not source)


def check_overlap(prices: Prices, funding: Funding) -> None:
    """Sees that funding and prices belong to the same time.

    Warns:
        DataWarning: they are of different underlyings, some settlements lie outside the price period, or some of it
            has no funding.

    Raises:
        DataError: the two periods have nothing in common.
    """
    if not is_same_underlying(prices.symbol, funding.symbol):
        _warn(f"the prices are of {prices.symbol}, the funding of {funding.symbol}")
    first, last = int(prices.times_ms[0]), int(prices.times_ms[-1])
    inside = funding.times_ms[(funding.times_ms > first) & (funding.times_ms <= last)]
    if int(funding.times_ms[-1]) <= first or int(funding.times_ms[0]) > last:
        raise DataError(
            f"no funding settlement falls into the price period, {prices.start} to {prices.end}; "
            f"funding runs from {funding.start} to {funding.end}.",
            where=funding.symbol or "funding",
            fix="Give funding of the same period, or none.",
        )
    if not len(inside):
        return  # a path shorter than the distance of two settlements
    outside = int(np.count_nonzero((funding.times_ms < first) | (funding.times_ms > last)))
    if outside:
        _warn(
            f"{funding.symbol or 'funding'}: {outside:,} of {len(funding):,} settlements lie outside the "
            f"price period, {prices.start} to {prices.end}, and are left out"
        )
    bare = [
        f"{iso(since)} to {iso(until)}"
        for since, until in ((first, int(inside[0])), (int(inside[-1]), last))
        if until - since > 1.5 * funding.spacing_ms and funding.spacing_ms
    ]
    if bare:
        _warn(f"{prices.symbol or 'prices'}: no funding is known for {' and '.join(bare)}; none is charged")


def warn_of_gaps(series: Prices | Funding) -> None:
    """Warns in one line if rows are missing: how many gaps, the longest, and where it is."""
    gaps = series.gaps()
    if gaps:
        longest = max(gaps, key=lambda gap: gap.until_ms - gap.after_ms)
        name = series.symbol or type(series).__name__.lower()
        count = f"{len(gaps):,} gap{'s' if len(gaps) > 1 else ''}"
        span = duration_text(longest.until_ms - longest.after_ms)
        missing = f"{sum(gap.missing for gap in gaps):,} rows of {duration_text(series.spacing_ms)} missing"
        period = f"{iso(longest.after_ms)} to {iso(longest.until_ms)}"
        _warn(f"{name}: {count}, {missing}; the longest lasts {span}, {period}", stacklevel=5)


def _bars(source: Any, symbol: str | None, options: ReadOptions, *, shift: bool) -> Prices:
    table = read_table(source, TableKind.PRICES, symbol, options, ends=not shift)
    columns: dict[str, Any] = _ohlc(table, options)
    columns["volume"] = base_volume(table, columns["close"], options.volume_unit)
    known, told = known_ms(table, shift=shift), tuple(table.notes.said)
    lag_ms = int(known[0] - table.times_ms[0]) if len(known) and not table.only_ends else 0
    try:
        adjusted = columns["close"] is table.values(Role.ADJUSTED)
        return Prices(known, symbol=table.symbol, notes=told, lag_ms=lag_ms, is_adjusted=adjusted, **columns)
    except SeriesError:
        # Faults are told with the stamps that stand in the table.
        stamps = table.times_ms
        return blamed(table.where, lambda: Prices(stamps, symbol=table.symbol, **columns))


def known_ms(table: Table, *, shift: bool) -> np.ndarray:
    """Returns when each row of a table was known, ms UTC.

    Args:
        table: the rows.
        shift: whether its stamps are those of the bars' beginnings.

    Raises:
        DataError: a single bar does not tell when it ended.
    """
    if table.only_ends or (not shift and table.closes is not None):
        ends = table.times_ms if table.only_ends or table.closes is None else table.closes
        # Binance stamps an end with the last millisecond of the bar.
        return np.where(ends % 1_000 == 999, ends + 1, ends)
    if shift and (last := _last_instants(table.times_ms)):
        table.notes.add(f"times such as {iso(int(table.times_ms[0]))} are the last moments of the bars, and read so")
        return table.times_ms + last
    if shift and len(table.times_ms) == 1:
        raise DataError(
            "a single bar stamped with its open does not tell when it ended.",
            where=table.where,
            fix='Give at least two bars, or stamp="close".',
        )
    return table.times_ms + (spacing_ms(table.times_ms) if shift else 0)


def _last_instants(times: np.ndarray) -> int:
    """How much the stamps lack to full minutes, where each is the last second or millisecond of a bar; else 0."""
    for lack in (1, 1_000):
        # The first tells nearly all series without a look at the others.
        if len(times) > 1 and not (times[0] + lack) % 60_000 and bool(((times + lack) % 60_000 == 0).all()):
            return lack
    return 0


def _ohlc(table: Table, options: ReadOptions) -> dict[str, Any]:
    """The prices of a table, of raw and adjusted closes those that are meant."""
    close, adjusted = table.values(Role.CLOSE), table.values(Role.ADJUSTED)
    columns = {role.value: table.values(role) for role in (Role.OPEN, Role.HIGH, Role.LOW)}
    notes, names = table.notes, table.names
    if adjusted is None or close is None:
        # A column of closes without any value is told as a fault of its first row.
        only = adjusted if close is None else close
        return columns | {"close": np.full(len(table.times_ms), np.nan) if only is None else only}
    if not options.adjusted:
        notes.add(f"{names[Role.CLOSE]} is taken, not {names[Role.ADJUSTED]}, since dividends are given")
        return columns | {"close": close}
    if np.array_equal(close, adjusted):
        return columns | {"close": close}
    scaled = [name for name, values in columns.items() if values is not None]
    also = f"; {', '.join(scaled)} are scaled alike" if scaled else ""
    notes.add(f"{names[Role.ADJUSTED]} is taken, not {names[Role.CLOSE]}{also}")
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = adjusted / close
    return {name: None if values is None else values * factor for name, values in columns.items()} | {"close": adjusted}


def arrays_of(source: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns the times and values of a pair or a pandas Series; None if it is neither."""
    if nw.dependencies.is_pandas_series(source):
        index = np.asarray(source.index)
        if np.issubdtype(index.dtype, np.integer) and (not len(index) or int(index.max()) < _EARLIEST_S):
            what = "the index of the pandas Series holds row numbers, no times."
            raise DataError(what, fix="Give it an index of times, or (times, values).")
        source = (source.index, source)
    if not isinstance(source, (tuple, list)):
        return None
    if len(source) != 2:
        raise DataError(f"a sequence of {len(source)} is no (times, values).", fix="Give a pair of arrays.")
    where = "(times, values)"
    times, values = source
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError("the values are not all numbers.", where=where, fix="Give floats.") from None
    return _times(times, where), numbers


def _times(times: Any, where: str) -> np.ndarray:
    if isinstance(times, pl.Series):
        return stamps_ms(times, None, None, Notes(where), "times")
    array = np.asarray(times)
    if array.ndim != 1:
        raise DataError("the times are not a flat array.", where=where, fix="Give one time for each value.")
    if np.issubdtype(array.dtype, np.datetime64):
        if np.isnat(array).any():
            row = int(np.argmax(np.isnat(array)))
            raise DataError("the time is missing (NaT).", where=f"{where}, row {row + 1}", fix="Drop this row.")
        return array.astype("datetime64[ms]").astype(np.int64)
    if np.issubdtype(array.dtype, np.integer):
        return _array_ms(array, where)
    return objects_ms(list(times), where)


def _array_ms(array: np.ndarray, where: str) -> np.ndarray:
    # A clock that begins at 0 is one of milliseconds: whoever gives arrays means them so.
    if len(array) and int(array.min()) >= 0 and int(array.max()) < _EARLIEST_S:
        return array.astype(np.int64)
    return epochs_ms(array, where)


def blamed(where: str, make: Callable[[], _Made]) -> _Made:
    """Returns a series, or tells of its fault with the place it came from."""
    try:
        return make()
    except SeriesError as error:
        raise SeriesError(error.what, where=f"{where}: {error.where}", fix=error.fix) from None


def say(series: TimeSeries) -> None:
    """Warns of what was done to read a series."""
    for note in getattr(series, "notes", ()):
        _warn(note, stacklevel=5)


def _finish(series: _Series, start: Moment | None, end: Moment | None, *, fresh: bool) -> _Series:
    if fresh:
        say(series)
    if start is not None or end is not None:
        series = series.between(start, end)
    warn_of_gaps(series)
    return series


def _warn(message: str, stacklevel: int = 3) -> None:
    warnings.warn(message, DataWarning, stacklevel=stacklevel)
