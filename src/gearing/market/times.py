"""Moments: integer milliseconds UTC from dates, texts, and integers of any usual unit."""

from __future__ import annotations

import datetime as dt
import re

import numpy as np
import polars as pl

from gearing.errors import DataError

MINUTE_MS = 60_000
DAY_MS = 86_400_000

Moment = str | int | dt.datetime | dt.date | np.datetime64

# Integer times between 1973 and 5138 fall into one decade of magnitude per unit, and decades do not meet.
# March 1973 in seconds: no market data is older and counted in seconds.
_EARLIEST_S = 100_000_000
_UNITS = (("s", 1e8, 1e11), ("ms", 1e11, 1e14), ("us", 1e14, 1e17), ("ns", 1e17, 1e20))
_MONTHS_FIRST = re.compile(r"\d{4}(-\d{2})?")


class SeriesError(DataError):
    """What was read is no price or funding series: unsorted, doubled, missing or impossible values."""


def iso(time_ms: int) -> str:
    """Returns a moment as text, such as "2020-03-12T10:35:00Z"."""
    unit = "s" if time_ms % 1000 == 0 else "ms"
    return f"{np.datetime64(int(time_ms), 'ms').astype(f'datetime64[{unit}]')}Z"


def duration_text(span_ms: float) -> str:
    """Returns a span as short text, such as "5m", "1.5h" or "3d"."""
    for unit, length in (("d", DAY_MS), ("h", 3_600_000), ("m", MINUTE_MS), ("s", 1_000)):
        if abs(span_ms) >= length:
            return f"{round(span_ms / length, 2):g}{unit}"
    return f"{span_ms:g}ms"


def moment_ms(value: Moment) -> int:
    """Returns the moment that a person gave, in milliseconds since the epoch, UTC.

    Args:
        value: ISO text ("2020", "2020-03-12", "2020-03-12T10:35+01:00"), a date or datetime (without a zone
            it is UTC), numpy's datetime64, or an integer of milliseconds.

    Raises:
        DataError: it is no moment.
    """
    try:
        if isinstance(value, bool):
            raise ValueError
        if isinstance(value, (int, np.integer)):
            return int(value)
        if isinstance(value, np.datetime64):
            if np.isnat(value):
                raise ValueError
            return int(value.astype("datetime64[ms]").astype(np.int64))
        if isinstance(value, str):
            text = value.strip()
            if _MONTHS_FIRST.fullmatch(text):
                return int(np.datetime64(text, "ms").astype(np.int64))
            value = dt.datetime.fromisoformat(text)
        if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
            value = dt.datetime(value.year, value.month, value.day)
        if isinstance(value, dt.datetime):
            return datetime_ms(value)
        raise ValueError
    except ValueError:
        raise DataError(
            f"{value!r} is no moment in time.",
            fix='Write "2020-03-12" or "2020-03-12T10:35"; it is read as UTC.',
        ) from None


def datetime_ms(value: dt.datetime) -> int:
    """Returns milliseconds since the epoch; without a zone it is UTC. Exact: no float is involved."""
    if value.tzinfo is None:
        value = value.replace(tzinfo=dt.UTC)
    return (value - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(milliseconds=1)


def integers_ms(times: np.ndarray, where: str) -> np.ndarray:
    """Returns integer times of s, ms, µs or ns (told by their magnitude) as milliseconds.

    An invented clock that starts near 0 is taken to count milliseconds.

    Raises:
        SeriesError: their magnitude fits none of the four.
    """
    if not len(times):
        return times.astype(np.int64)
    largest = float(np.max(np.abs(times.astype(np.float64))))
    if 0 <= float(np.min(times)) < _EARLIEST_S:
        return times.astype(np.int64)
    for unit, low, high in _UNITS:
        if low <= largest < high:
            whole = times.astype(np.int64)
            return {"s": whole * 1000, "ms": whole, "us": whole // 1000, "ns": whole // 1_000_000}[unit]
    raise SeriesError(
        f"the times are integers whose unit cannot be told (the largest is {largest:.0f}).",
        where=where,
        fix="Give seconds, milliseconds, microseconds or nanoseconds since 1970-01-01 UTC.",
    )


def column_ms(column: pl.Series, where: str) -> np.ndarray:
    """Returns a table's time column (integers, dates, moments or ISO text) as milliseconds UTC.

    Raises:
        SeriesError: a time is missing or cannot be understood, or texts with and without a zone are mixed.
    """
    kind = column.dtype
    if isinstance(kind, (pl.Categorical, pl.Enum)):
        column = column.cast(pl.String)
        kind = column.dtype
    if column.null_count():
        row = int(column.is_null().arg_max() or 0)
        raise SeriesError("the time is missing.", where=f"{where}, row {row + 1}", fix="Drop or mend this row.")
    if kind == pl.Date:
        return column.cast(pl.Datetime("ms")).to_physical().to_numpy()
    if isinstance(kind, pl.Datetime):
        return column.dt.cast_time_unit("ms").to_physical().to_numpy()
    if kind == pl.String:
        return _text_ms(column, where)
    if kind.is_integer() or (kind.is_float() and bool((column == column.floor()).all())):
        return integers_ms(column.to_numpy(), where)
    if kind == pl.Object:
        return objects_ms(column.to_list(), where)
    raise SeriesError(f"the times are of type {kind}.", where=where, fix="Give dates, ISO text or integers.")


def objects_ms(values: list[object], where: str) -> np.ndarray:
    """Returns a list of datetimes, dates, datetime64, integers or texts as milliseconds UTC.

    Raises:
        SeriesError: one cannot be understood, or some have a zone and some not.
    """
    if all(isinstance(value, (int, np.integer)) and not isinstance(value, bool) for value in values):
        return integers_ms(np.array(values, dtype=np.int64), where)
    if all(isinstance(value, str) for value in values):
        return _text_ms(pl.Series(values, dtype=pl.String), where)
    zoned = {value.tzinfo is not None for value in values if isinstance(value, dt.datetime)}
    if len(zoned) > 1:
        raise _mixed(where)
    times = np.empty(len(values), dtype=np.int64)
    for row, value in enumerate(values):
        try:
            if not isinstance(value, (dt.date, np.datetime64)):
                raise SeriesError(f"{value!r} is no moment in time.", fix="Give dates, datetimes or datetime64.")
            times[row] = moment_ms(value)
        except (DataError, ValueError) as error:
            what, fix = (error.what, error.fix) if isinstance(error, DataError) else (f"{value!r} is no moment.", "")
            raise SeriesError(what, where=f"{where}, row {row + 1}", fix=fix) from None
    return times


def _mixed(where: str) -> SeriesError:
    return SeriesError(
        "mixed time zones: some times have a zone and some have none.",
        where=where,
        fix="Write all of them in UTC.",
    )


def _text_ms(column: pl.Series, where: str) -> np.ndarray:
    text = column.str.strip_chars()
    number = r"^-?\d{9,}(\.0*)?$"
    if bool(text.head(1).str.contains(number).all()) and bool(text.str.contains(number).all()):
        return integers_ms(text.str.split(".").list.first().cast(pl.Int64).to_numpy(), where)
    offset: pl.Series | int = 0
    if bool(text.str.ends_with("Z").all()):
        text = text.str.strip_suffix("Z")
    else:
        # Only what follows a date can be a zone: the "-12" of "2020-03-12" is not one.
        zone = text.str.slice(10).str.extract(r"(Z|z|UTC|GMT|[+-]\d\d(?::?\d\d)?)$", 1)
        if 0 < zone.null_count() < len(zone):
            raise _mixed(where)
        if not zone.null_count():
            offset = _offset_ms(zone)
            text = text.str.replace(r"\s?(Z|z|UTC|GMT|[+-]\d\d(?::?\d\d)?)$", "")
    text = text.str.replace("T", " ", literal=True).str.replace_all("/", "-", literal=True)
    parsed = pl.Series("time", [None] * len(text), dtype=pl.Datetime("ms"))
    for form in ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d"):
        if parsed.null_count():
            parsed = parsed.zip_with(parsed.is_not_null(), text.str.to_datetime(form, time_unit="ms", strict=False))
    if parsed.null_count():
        row = int(parsed.is_null().arg_max() or 0)
        raise SeriesError(
            f"{column[row]!r} is no moment in time.",
            where=f"{where}, row {row + 1}",
            fix='Write ISO text such as "2020-03-12 10:35:00".',
        )
    times: np.ndarray = (parsed.to_physical() - offset).to_numpy()
    return times


def _offset_ms(zone: pl.Series) -> pl.Series:
    """What a zone such as "+05:30" is ahead of UTC; 0 for "Z", "UTC" and "GMT"."""
    hours = zone.str.extract(r"^[+-](\d\d)", 1).cast(pl.Int64).fill_null(0)
    minutes = zone.str.extract(r"^[+-]\d\d:?(\d\d)$", 1).cast(pl.Int64).fill_null(0)
    return (hours * 60 + minutes) * MINUTE_MS * (1 - 2 * zone.str.starts_with("-").cast(pl.Int64))
