"""Columns of times as milliseconds UTC: the unit of integers row by row, dates, moments and text."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from gearing.errors import DataError
from gearing.market.reading.dates import clock_text, is_clock, mixed_zones, text_ms
from gearing.market.reading.options import EPOCHS, EXCEL, Notes
from gearing.market.times import SeriesError, iso, moment_ms

Times = npt.NDArray[np.int64]

# Integers of one unit between March 1973 and 2100 fall into one decade of magnitude, and decades do not meet.
_EARLIEST_S = 100_000_000
_LATEST_MS = 4_133_980_800_000  # 2101-01-01
# Ticks of 100 ns since the years 1 and 1601 are below this too.
_EARLIEST_NS = 725_846_400_000_000_000
_LOWEST = {"s": 1e8, "ms": 1e11, "us": 1e14, "ns": 1e17}
_UNIT_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
# Times that step by less than this near 1970 are the numbers of rows.
_LEAST_STEP_MS = 1_000
_NO_UNIT = "Give seconds, milliseconds, microseconds or nanoseconds since 1970-01-01 UTC."


def stamps_ms(column: pl.Series, clock: pl.Series | None, form: str | None, notes: Notes, name: str) -> Times:
    """Returns a table's times in ms UTC.

    Args:
        column: integers, dates, moments or text.
        clock: the time of day, where it stands in a column of its own.
        form: a person's word on them: see `ReadOptions.time_format`.
        notes: what was decided is added.
        name: what the column is called, for errors.

    Raises:
        SeriesError: one is missing, cannot be understood, or is outside 1970 to 2100; or two readings are possible.
    """
    where = f"{notes.where}, column {name}"
    if isinstance(column.dtype, (pl.Categorical, pl.Enum)):
        column = column.cast(pl.String)
    if column.dtype == pl.String:
        column = column.set(column.str.strip_chars() == "", None) if bool((column == "").any()) else column
    if column.null_count():
        row = int(column.is_null().arg_max() or 0)
        raise SeriesError("the time is missing.", where=f"{where}, row {row + 1}", fix="Drop or complete this row.")
    if clock is not None and is_clock(clock):
        column = _day_text(column) + " " + clock_text(clock)
        notes.add("date and time of day are joined")
    times = _column_ms(column, where, form, notes)
    if len(times) and (int(times.min()) < 0 or int(times.max()) >= _LATEST_MS):
        outside = (times < 0) | (times >= _LATEST_MS)
        row = int(np.argmax(outside))
        what = f"{column[row]!r} would be before 1970 or after 2100."
        raise SeriesError(what, where=f"{where}, row {row + 1}", fix="Fix this row, or say the unit: --time-format.")
    return times


def _day_text(column: pl.Series) -> pl.Series:
    if column.dtype == pl.String:
        return column.str.strip_chars()
    if column.dtype == pl.Date or column.dtype.is_integer():
        return column.cast(pl.String)
    return column.cast(pl.Date).cast(pl.String)


def _column_ms(column: pl.Series, where: str, form: str | None, notes: Notes) -> Times:
    kind = column.dtype
    if kind == pl.Date:
        return column.cast(pl.Datetime("ms")).to_physical().to_numpy()
    if isinstance(kind, pl.Datetime):
        return column.dt.cast_time_unit("ms").to_physical().to_numpy()
    if kind == pl.String:
        return _text(column, where, form, notes)
    if kind.is_integer():
        return _integers(column, where, form, notes)
    if kind.is_float() or kind.is_decimal():
        return _floats(column.cast(pl.Float64), where, form, notes)
    if kind == pl.Object:
        return objects_ms(column.to_list(), where)
    raise SeriesError(f"the times are of type {kind}.", where=where, fix="Give dates, ISO text or integers.")


def _text(column: pl.Series, where: str, form: str | None, notes: Notes) -> Times:
    text = column.str.strip_chars()
    if form == EXCEL:
        days = text.cast(pl.Float64, strict=False)
        if not days.null_count():
            return _excel_ms(days.to_numpy(), where, form)
    number = r"^-?\d+(\.0*)?$"
    whole = form is None or form in (*EPOCHS, EXCEL)
    if whole and bool(text.head(1).str.contains(number).all()) and bool(text.str.contains(number).all()):
        integers = text.str.split(".").list.first().cast(pl.Int64, strict=False)
        if not integers.null_count():
            return _integers(integers, where, form, notes)
    if bool(text.head(1).str.contains(r"^\d+\.\d+$").all()) and bool(text.str.contains(r"^\d{9,}(\.\d+)?$").all()):
        return _floats(text.cast(pl.Float64), where, form, notes)
    if bool(text.head(1).str.contains(r"^\d\.\d{9,}[eE]\+\d+$").all()):
        read = text.cast(pl.Float64, strict=False)
        if not read.null_count() and bool(text.str.contains(r"^\d\.\d{9,}[eE]\+\d+$").all()):
            return _floats(read, where, form, notes)
    if bool(text.head(1).str.contains(r"^\d{5}\.\d+$").all()) and bool(text.str.contains(r"^\d{5}(\.\d+)?$").all()):
        return _floats(text.cast(pl.Float64), where, form, notes)
    return text_ms(column, where, form, notes)


def _floats(column: pl.Series, where: str, form: str | None, notes: Notes) -> Times:
    if column.is_nan().any():
        row = int(column.is_nan().arg_max() or 0)
        raise SeriesError("the time is missing.", where=f"{where}, row {row + 1}", fix="Drop or complete this row.")
    if form == EXCEL or (form is None and _are_excel_days(column.to_numpy())):
        return _excel_ms(column.to_numpy(), where, form)
    if bool((column == column.floor()).all()) and bool((column.abs() < 2**63).all()):
        return _integers(column.cast(pl.Int64), where, form, notes)
    if form not in (None, "s") or not bool(column.is_between(_EARLIEST_S, _LATEST_MS / 1000).all()):
        raise SeriesError("the times have fractions and are not seconds since 1970.", where=where, fix=_NO_UNIT)
    return (column * 1000).round().cast(pl.Int64).to_numpy()


def _integers(column: pl.Series, where: str, form: str | None, notes: Notes) -> Times:
    if form is not None and form not in (*EPOCHS, EXCEL):
        return text_ms(column.cast(pl.String), where, form, notes)
    values = column.cast(pl.Int64).to_numpy()
    if form == EXCEL or (form is None and _are_excel_days(values)):
        return _excel_ms(values, where, form)
    if form is None and _are_dates(values):
        dated = text_ms(_padded(column), where, None, None)
        notes.add("integers such as 20241230 are read as dates")
        return dated
    return epochs_ms(values, where, form, notes)


_EXCEL_1970 = 25_569
_EXCEL_2101 = 73_416


def _are_excel_days(values: npt.NDArray[Any]) -> bool:
    """Whether numbers lie where Excel's days of 1985 to 2100 do, which no unit since 1970 reaches."""
    return len(values) > 0 and bool((values >= 31_000).all() and (values < _EXCEL_2101).all())


def _excel_ms(values: npt.NDArray[Any], where: str, form: str | None) -> Times:
    """Days since 1900, as spreadsheets count them; only if a person says so, since rows are counted alike.

    Raises:
        SeriesError: nobody has said so.
    """
    times: Times = np.rint((values - _EXCEL_1970) * 86_400.0).astype(np.int64) * 1_000
    if form is None:
        what = f"{values[0]:.10g} may be a spreadsheet's number of a day ({iso(int(times[0]))}), or a row's number."
        fix = "Format the column as dates; or say --time-format excel (time_format= in Python)."
        raise SeriesError(what, where=f"{where}, row 1", fix=fix)
    return times


def _are_dates(values: Times) -> bool:
    """Whether integers are YYYYMMDD, or the same with HHMM or HHMMSS."""
    if not len(values):
        return False
    low, high = int(values.min()), int(values.max())
    for digits in (8, 12, 14):
        scale = 10 ** (digits - 8)
        if 19_700_101 * scale <= low and high < 21_010_101 * scale:
            days, clock = values // scale, values % scale
            month, day = days // 100 % 100, days % 100
            if not ((month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)).all():
                return False
            clock = clock * 100 if digits == 12 else clock
            return bool(((clock < 240_000) & (clock // 100 % 100 < 60) & (clock % 100 < 60)).all())
    return False


def _padded(column: pl.Series) -> pl.Series:
    """Integers of dates as text, with a blank before the time of day."""
    return column.cast(pl.String).str.replace(r"^(\d{8})(\d+)$", "$1 $2")


def epochs_ms(values: Times, where: str, unit: str | None = None, notes: Notes | None = None) -> Times:
    """Returns integers since 1970 as ms, each row's unit told by its magnitude.

    Args:
        values: the integers.
        where: the place to blame.
        unit: "s", "ms", "us" or "ns"; None: by magnitude.
        notes: a change of the unit within the column is added.

    Raises:
        SeriesError: their unit cannot be told, or it changes in a way that puts the rows out of order.
    """
    if not len(values):
        return values.astype(np.int64)
    whole = values.astype(np.int64)
    if unit is not None:
        return _scaled(whole, unit)
    largest = int(whole.max())
    main = next((u for u in reversed(_LOWEST) if largest >= _LOWEST[u]), None)
    if int(whole.min()) < 0 or (main is None and not _is_clock_from_zero(whole)):
        what = f"the times are integers whose unit cannot be told ({whole[0]} in row 1, the largest is {largest})."
        raise SeriesError(what, where=where, fix=_NO_UNIT)
    if main is None:
        return whole
    if main == "ns" and int(whole.min()) < _EARLIEST_NS:
        what = f"{int(whole.min())} would be nanoseconds before 1993; it may be a count of .NET or Windows ticks."
        raise SeriesError(what, where=where, fix="Write ISO text, or say --time-format ns (time_format= in Python).")
    own = np.select([whole >= _LOWEST[u] for u in reversed(_LOWEST)], range(3, -1, -1), default=-1)
    units = tuple(_LOWEST)
    other = (own != units.index(main)) & (own >= 0)
    if not other.any():
        return _scaled(whole, main)
    mixed = _scaled(whole, main)
    for k in range(4):
        mixed = np.where(other & (own == k), _scaled(whole, units[k]), mixed)
    row = int(np.argmax(own[1:] != own[:-1])) + 1
    was, now = _UNIT_NAMES[units[int(own[row - 1])]], _UNIT_NAMES[units[int(own[row])]]
    if not _monotone(mixed):
        if _monotone(_scaled(whole, main)):
            return _scaled(whole, main)
        what = f"the unit of the times changes here from {was} to {now}, and the rows are then not in order."
        raise SeriesError(what, where=f"{where}, row {row + 1}", fix="Write all times in one unit.")
    if notes is not None:
        notes.add(f"times change from {was} to {now} in row {row + 1} ({iso(int(mixed[row]))}); both are read")
    return mixed


def _is_clock_from_zero(whole: Times) -> bool:
    """Whether small integers are an invented clock of milliseconds that starts near 1970, and not the rows' numbers."""
    steps = np.diff(whole)
    return len(steps) > 0 and abs(int(np.median(steps))) >= _LEAST_STEP_MS


def _scaled(whole: Times, unit: str) -> Times:
    return {"s": whole * 1000, "ms": whole, "us": whole // 1000, "ns": whole // 1_000_000}[unit]


def _monotone(times: Times) -> bool:
    steps = np.diff(times)
    return bool((steps >= 0).all() or (steps <= 0).all())


def objects_ms(values: list[object], where: str) -> Times:
    """Returns a list of datetimes, dates, datetime64, integers or texts as milliseconds UTC.

    Raises:
        SeriesError: one cannot be understood, or some have a zone and some not.
    """
    if all(isinstance(value, (int, np.integer)) and not isinstance(value, bool) for value in values):
        return epochs_ms(np.array(values, dtype=np.int64), where)
    if all(isinstance(value, str) for value in values):
        return text_ms(pl.Series(values, dtype=pl.String), where)
    zoned = {value.tzinfo is not None for value in values if isinstance(value, dt.datetime)}
    if len(zoned) > 1:
        raise mixed_zones(where)
    times = np.empty(len(values), dtype=np.int64)
    for row, value in enumerate(values):
        try:
            if not isinstance(value, (dt.date, np.datetime64)):
                raise SeriesError(f"{value!r} is not a moment in time.", fix="Give dates, datetimes or datetime64.")
            times[row] = moment_ms(value)
        except (DataError, ValueError) as error:
            what, fix = (error.what, error.fix) if isinstance(error, DataError) else (f"{value!r} is not a moment.", "")
            raise SeriesError(what, where=f"{where}, row {row + 1}", fix=fix) from None
    return times


def order(times: Times) -> np.ndarray | None:
    """Returns the order that sorts rows which stand newest first; None for any other."""
    if len(times) < 2 or times[1] >= times[0]:
        return None
    return np.arange(len(times))[::-1] if bool((np.diff(times) < 0).all()) else None
