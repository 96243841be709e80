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
from gearing.market.series import Funding, Prices, TimeSeries, spacing_ms
from gearing.market.tables import FUNDING_COLUMNS, PRICE_COLUMNS, floats, read_table
from gearing.market.times import (
    MINUTE_MS,
    Moment,
    SeriesError,
    column_ms,
    duration_text,
    integers_ms,
    iso,
    objects_ms,
)

# Venues stamp a settlement some milliseconds after the moment it belongs to (reference-job: up to a second).
_SETTLEMENT_LAG_MS = 1_000

_Series = TypeVar("_Series", Prices, Funding)
_Made = TypeVar("_Made", bound=TimeSeries)


def read_prices(
    source: Any,
    *,
    symbol: str | None = None,
    stamp: Literal["open", "close"] = "open",
    start: Moment | None = None,
    end: Moment | None = None,
) -> Prices:
    """Reads prices from a file, a data frame or arrays.

    Known columns, in any case: timestamp, time, datetime, open_time or date; open, high, low, close,
    volume (or o, h, l, c, v; price or adj_close for close); symbol.

    Args:
        source: path of a CSV (also .csv.gz), Parquet or Feather file; a polars, pandas, pyarrow or any other
            data frame that narwhals takes (a pandas index may hold the times); or (times, closes), and
            likewise a pandas Series of closes, of which each price was known at its own time.
        symbol: which symbol's rows, if the table holds several; else a name for the series.
        stamp: what the times of a table mean: "open", a bar is known at its stamp plus the most common
            spacing of the series (a date of daily bars: at the end of that day); "close", at its stamp.
        start: leave out what was known before it (ISO text, datetime or ms; without a zone, UTC).
        end: leave out what was known at or after it.

    Returns:
        The prices, each with the moment it was known.

    Raises:
        DataError: it cannot be read, or what stands there can be no price series.
    """
    if stamp not in ("open", "close"):
        raise DataError(f"stamp is {stamp!r}.", fix='Write stamp="open" or stamp="close".')
    if isinstance(source, Prices):
        prices = source if symbol is None else replace(source, symbol=symbol)
    elif (pair := arrays_of(source)) is not None:
        times, values = pair
        prices = blamed("(times, prices)", lambda: Prices(times, values, symbol=symbol or ""))
    else:
        prices = _bars(source, symbol, shift=stamp == "open")
    return _finish(prices, start, end)


def read_funding(
    source: Any, *, symbol: str | None = None, start: Moment | None = None, end: Moment | None = None
) -> Funding:
    """Reads funding settlements from a file, a data frame or arrays.

    Known columns, in any case: timestamp, time, datetime, date or funding_time; funding_rate, fundingRate
    or rate (a fraction of the notional, > 0: longs pay); symbol. A settlement stamped up to one second after
    a whole minute belongs to that minute.

    Args:
        source: as for `read_prices`; as arrays, (times, rates).
        symbol: which symbol's rows, if the table holds several; else a name for the series.
        start: leave out settlements before it (ISO text, datetime or ms; without a zone, UTC).
        end: leave out settlements at or after it.

    Returns:
        The settlements.

    Raises:
        DataError: it cannot be read, or what stands there can be no funding series.
    """
    if isinstance(source, Funding):
        funding = source if symbol is None else replace(source, symbol=symbol)
    elif (pair := arrays_of(source)) is not None:
        times, values = pair
        funding = blamed("(times, rates)", lambda: Funding(_settled(times), values, symbol=symbol or ""))
    else:
        frame, name, where = read_table(source, FUNDING_COLUMNS, "rate", symbol)
        times = column_ms(frame["time"], f"{where}, column time")
        rates = floats(frame["rate"], "rate", where)
        if rates is None:
            raise SeriesError("the column of rates is empty.", where=where, fix="Write its rates.")
        funding = blamed(where, lambda: Funding(_settled(times), rates, symbol=name))
    return _finish(funding, start, end)


def check_overlap(prices: Prices, funding: Funding) -> None:
    """Sees that funding and prices belong to the same time.

    Warns:
        DataWarning: some settlements lie outside the price period, or some of it has no funding.

    Raises:
        DataError: the two periods have nothing in common.
    """
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


def _bars(source: Any, symbol: str | None, *, shift: bool) -> Prices:
    frame, name, where = read_table(source, PRICE_COLUMNS, "close", symbol)
    stamps = column_ms(frame["time"], f"{where}, column time")
    columns = {
        column: floats(frame[column], column, where)
        for column in ("open", "high", "low", "close", "volume")
        if column in frame.columns
    }
    if shift and len(stamps) == 1:
        raise DataError(
            "a single bar stamped with its open does not tell when it ended.",
            where=where,
            fix='Give at least two bars, or stamp="close".',
        )
    try:
        return Prices(stamps + (spacing_ms(stamps) if shift else 0), symbol=name, **columns)  # type: ignore[arg-type]
    except SeriesError:
        # Faults are told with the stamps that stand in the table.
        return blamed(where, lambda: Prices(stamps, symbol=name, **columns))  # type: ignore[arg-type]


def arrays_of(source: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns the times and values of a pair or a pandas Series; None if it is neither."""
    if nw.dependencies.is_pandas_series(source):
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
        return column_ms(times, where)
    array = np.asarray(times)
    if array.ndim != 1:
        raise DataError("the times are not a flat array.", where=where, fix="Give one time for each value.")
    if np.issubdtype(array.dtype, np.datetime64):
        if np.isnat(array).any():
            row = int(np.argmax(np.isnat(array)))
            raise DataError("the time is missing (NaT).", where=f"{where}, row {row + 1}", fix="Drop this row.")
        return array.astype("datetime64[ms]").astype(np.int64)
    if np.issubdtype(array.dtype, np.integer):
        return integers_ms(array, where)
    return objects_ms(list(times), where)


def _settled(times: np.ndarray) -> np.ndarray:
    late = times % MINUTE_MS
    return np.where(late <= _SETTLEMENT_LAG_MS, times - late, times)


def blamed(where: str, make: Callable[[], _Made]) -> _Made:
    """Returns a series, or tells of its fault with the place it came from."""
    try:
        return make()
    except SeriesError as error:
        raise SeriesError(error.what, where=f"{where}: {error.where}", fix=error.fix) from None


def _finish(series: _Series, start: Moment | None, end: Moment | None) -> _Series:
    if start is not None or end is not None:
        series = series.between(start, end)
    warn_of_gaps(series)
    return series


def _warn(message: str, stacklevel: int = 3) -> None:
    warnings.warn(message, DataWarning, stacklevel=stacklevel)
