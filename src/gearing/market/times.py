"""Moments: integer milliseconds UTC from dates, texts, and integers of any usual unit."""

from __future__ import annotations

import datetime as dt
import re

import numpy as np

from gearing.errors import DataError

MINUTE_MS = 60_000
DAY_MS = 86_400_000

Moment = str | int | dt.datetime | dt.date | np.datetime64

_DAY = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?|\d{8}")
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


def is_day(value: Moment) -> bool:
    """Returns whether a person gave a day (or a month or year), and no moment of it."""
    if isinstance(value, str):
        return bool(_DAY.fullmatch(value.strip()))
    return isinstance(value, dt.date) and not isinstance(value, dt.datetime)


def datetime_ms(value: dt.datetime) -> int:
    """Returns milliseconds since the epoch; without a zone it is UTC. Exact: no float is involved."""
    if value.tzinfo is None:
        value = value.replace(tzinfo=dt.UTC)
    return (value - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(milliseconds=1)
