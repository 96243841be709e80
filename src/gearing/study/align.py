"""Two series at their common times, without a look ahead."""

from __future__ import annotations

from typing import Any, NamedTuple

import narwhals as nw
import numpy as np
import polars as pl
from numpy.typing import NDArray

from gearing.errors import InputError
from gearing.market.files import read_prices
from gearing.market.series import Floats, Prices, Times, spacing_ms
from gearing.market.times import duration_text, iso
from gearing.study.result import Result

Rows = NDArray[np.intp]


class Samples(NamedTuple):
    """Values with the moments at which they were known.

    Args:
        times_ms: ms UTC, strictly increasing, shape (n,).
        values: at least 0, shape (n,).
        symbol: what they are the price of; may be empty.
    """

    times_ms: Times
    values: Floats
    symbol: str


class Alignment(NamedTuple):
    """Common times of two series, and the row of each series that is in force at each.

    Args:
        times_ms: ms UTC, shape (k,).
        a, b: row numbers, strictly increasing, shape (k,).
    """

    times_ms: Times
    a: Rows
    b: Rows


def align(a: Any, b: Any) -> pl.DataFrame:
    """Returns two series at their common times.

    The times are those of the series with the larger spacing. Each value is the last one known at or before its time,
    never a later one, and a time counts only where both values are fresh: known less than that spacing ago. So a
    missing day of one series leaves out that day and nothing is carried over it, and no value serves twice.

    Series of the same spacing whose stamps differ are paired on the stamps that leave the other value least old: a
    daily close stamped 21:00 UTC and one stamped at the following midnight are one pair at midnight. A shift of a
    whole spacing cannot be seen and is not corrected.

    Args:
        a, b: a Result (its NAV), a frame with columns `time` and `nav` (each known at its time, such as
            `result.nav`), a Prices series, or anything `read_prices` reads, bars stamped with their beginning. Read
            others with `read_prices(..., stamp="close")` first.

    Returns:
        A frame: time (Datetime ms UTC), a, b; at least one row.

    Raises:
        InputError: a series cannot be read, its times repeat or go back, or the two have no time in common.
    """
    first, second = samples_of(a), samples_of(b)
    pairs = alignment(first, second)
    time = pl.Series("time", pairs.times_ms).cast(pl.Datetime("ms", "UTC"))
    return pl.DataFrame([time, pl.Series("a", first.values[pairs.a]), pl.Series("b", second.values[pairs.b])])


def samples_of(source: Any) -> Samples:
    """Returns a series as times and values; see `align`.

    Raises:
        InputError: it cannot be read, or its times repeat or go back.
    """
    if isinstance(source, Result):
        return Samples(source.prices.times_ms, source.nav["nav"].to_numpy(), source.token.symbol)
    frame = nw.from_native(source, eager_only=True, pass_through=True)
    if isinstance(frame, nw.DataFrame) and {"time", "nav"} <= set(frame.columns):
        return _navs(frame)
    # What is missing in a series is left out below, so that one already made needs no note of it.
    prices = source if isinstance(source, Prices) else read_prices(source)
    return Samples(prices.times_ms, prices.close, prices.symbol)


def _navs(frame: nw.DataFrame[Any]) -> Samples:
    """Returns the columns `time` and `nav` of a frame; NAV may be 0 after a wipe-out."""
    time, nav = frame["time"], frame["nav"]
    # A day is no moment: whether its value was known at its beginning or its end, only a reader of bars knows.
    if not isinstance(time.dtype, nw.Datetime):
        fix = "Give it a column of moments, or pass gr.read_prices(frame)."
        raise InputError(f"the column `time` holds {time.dtype}, not times.", where="frame", fix=fix)
    times = time.dt.timestamp("ms").to_numpy()
    values = nav.cast(nw.Float64).to_numpy()
    if len(times) == 0 or time.null_count() or not (np.isfinite(values) & (values >= 0)).all():
        fix = "Give one time and one NAV, at least 0, in each row."
        raise InputError("a time or a NAV is missing or not a number.", where="frame", fix=fix)
    times = times.astype(np.int64)
    if (np.diff(times) <= 0).any():
        row = int(np.argmax(np.diff(times) <= 0)) + 1
        where = f"frame, row {row + 1}, {iso(int(times[row]))}"
        raise InputError("the times repeat or go back.", where=where, fix="Sort the frame and drop duplicates.")
    return Samples(times, values, "")


def alignment(a: Samples, b: Samples) -> Alignment:
    """Returns the common times of two series; see `align`.

    Raises:
        InputError: they have no time in common.
    """
    spacing_a, spacing_b = spacing_ms(a.times_ms), spacing_ms(b.times_ms)
    spacing = max(spacing_a, spacing_b)
    on_a, on_b = _rows_known(a.times_ms, b.times_ms, spacing), _rows_known(b.times_ms, a.times_ms, spacing)
    if spacing_a == spacing_b:
        takes_a = _age(a.times_ms, b.times_ms, on_a) <= _age(b.times_ms, a.times_ms, on_b)
    else:
        takes_a = spacing_a > spacing_b
    found = Alignment(a.times_ms[on_a[0]], *on_a) if takes_a else Alignment(b.times_ms[on_b[0]], *on_b[::-1])
    if not len(found.times_ms):
        raise InputError(_nothing_common(a, b, spacing), where="align", fix="Give series of the same period.")
    return found


def _rows_known(times: Times, other: Times, spacing: int) -> tuple[Rows, Rows]:
    """Returns the rows of `times` at which the other series has a fresh value, and the rows of these values."""
    known = np.searchsorted(other, times, side="right") - 1
    age = times - other[np.maximum(known, 0)]
    rows = np.flatnonzero((known >= 0) & ((age < spacing) | (age == 0)))
    # Where two times are closer than the other series' values, the value has served the first of them.
    rows = rows[np.append(True, np.diff(known[rows]) > 0)[: len(rows)]]
    return rows, known[rows]


def _age(times: Times, other: Times, pairs: tuple[Rows, Rows]) -> tuple[int, float]:
    """Returns what is less for better pairs: whether there are none, then the median age of the other value."""
    on, of = pairs
    return (0, float(np.median(times[on] - other[of]))) if len(on) else (1, 0.0)


def _nothing_common(a: Samples, b: Samples, spacing: int) -> str:
    first, second = (
        f"{series.symbol or name} runs from {iso(int(series.times_ms[0]))} to {iso(int(series.times_ms[-1]))}"
        for name, series in (("the first series", a), ("the second series", b))
    )
    overlap = a.times_ms[0] <= b.times_ms[-1] and b.times_ms[0] <= a.times_ms[-1]
    fresh = f"; no two values lie within {duration_text(spacing)} of each other" if overlap else ""
    return f"the two series have no time in common: {first}, {second}{fresh}."
