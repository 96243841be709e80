"""Dates and moments written as text: which reading is the only possible one over a whole column."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from gearing.market.reading.options import Notes
from gearing.market.times import MINUTE_MS, SeriesError

Times = npt.NDArray[np.int64]

_CLOCK = (
    r"(?:[T\s,]+(?P<h>\d{1,2}):?(?P<mi>\d{2})(?::?(?P<s>\d{2})(?:[.,](?P<f>\d{1,9}))?)?\s*(?P<ap>[AaPp]\.?[Mm]\.?)?)?"
)
_ZONE = r"\s*\(?(?P<z>Z|z|UTC|GMT|(?:UTC|GMT)?[+-]\d{2}(?::?\d{2})?)?\)?\s*$"
# "03-PM" and "3 PM": an hour without minutes.
_BARE_HOUR = r"([T\s]\d{1,2})[-\s]?([AaPp]\.?[Mm]\.?)$"
# A zone's name or letters behind a time of day; which offset is meant, tables do not say.
_ZONE_NAME = r"\d:\d\d(?::\d\d(?:\.\d+)?)?\s*(?:[AaPp]\.?[Mm]\.?)?\s*([A-Z]{2,5}|[A-Z][a-z]+/[A-Z][A-Za-z_]+)$"
_WEEKDAY = r"^(?:(?:[Mm]on|[Tt]ue|[Ww]ed|[Tt]hu|[Ff]ri|[Ss]at|[Ss]un)[a-z]*,?\s+)?"
_FAMILIES = {
    "ymd": r"^(?P<y>\d{4})[-/.](?P<a>\d{1,2})[-/.](?P<b>\d{1,2})",
    "xyz": r"^(?P<a>\d{1,2})[-/.](?P<b>\d{1,2})[-/.](?P<y>\d{4}|\d{2})",
    "day name": _WEEKDAY + r"(?P<a>\d{1,2})[-\s.]+(?P<b>[A-Za-z]{3,9})[-\s.,]+(?P<y>\d{4}|\d{2})",
    "name day": _WEEKDAY + r"(?P<a>[A-Za-z]{3,9})[.\s-]+(?P<b>\d{1,2})(?:st|nd|rd|th)?,?[\s-]+(?P<y>\d{4}|\d{2})",
    "compact": r"^(?P<y>\d{4})(?P<a>\d{2})(?P<b>\d{2})",
    "month": r"^(?P<y>\d{4})-(?P<a>\d{2})(?P<b>)",
}
_MONTHS = {
    name: number
    for number, names in enumerate(
        ("jan january", "feb february", "mar march", "apr april", "may", "jun june", "jul july", "aug august",
         "sep sept september", "oct october", "nov november", "dec december"), start=1)
    for name in names.split()
}  # fmt: skip
_SETTLES = 'Say which: --time-format "%m/%d/%Y", or day-first, or month-first (time_format= in Python).'


class Reading(NamedTuple):
    """One reading of a column: what it is called, and the moments; None where it is not possible."""

    name: str
    times: Times | None


def text_ms(column: pl.Series, where: str, form: str | None = None, notes: Notes | None = None) -> Times:
    """Returns moments written as text in ms UTC.

    Args:
        column: the texts, none missing.
        where: the place to blame.
        form: what a person says about them: "day-first", "month-first", or a strptime format.
        notes: what was decided is added.

    Raises:
        SeriesError: one is not a moment, two readings are possible, or some have a zone and some none.
    """
    text = column.str.strip_chars()
    if form is not None and "%" in form:
        return _strptime(text, form, where)
    quick = _iso_ms(text, where)
    if quick is not None:
        return quick
    if bool(text.head(1).str.contains(_BARE_HOUR).all()):
        text = text.str.replace(_BARE_HOUR, "$1:00 $2")
    family, parts = _family(text, column, where)
    clock = _clock_ms(parts, text, where)
    readings = [reading for reading in _readings(family, parts, form) if reading.times is not None]
    if not readings:
        row = _first_impossible(family, parts)
        raise _not_a_moment(column[row], where, row)
    moments = {reading.name: reading.times + clock for reading in readings if reading.times is not None}
    if len(moments) > 1:
        moments = {name: times for name, times in moments.items() if _in_order(times)} or moments
    if len({times.tobytes() for times in moments.values()}) > 1:
        examples = " or ".join(moments)
        what = f"{column[0]!r} and the rows below it can be read as {examples}."
        raise SeriesError(what, where=where, fix=_SETTLES)
    name, times = next(iter(moments.items()))
    if family == "xyz" and notes is not None:
        notes.add(
            f"dates are read as {name}, the only order that fits every row"
            if form is None
            else f"dates are read as {name}"
        )
    return times


def is_clock(column: pl.Series) -> bool:
    """Returns whether a column holds times of day, such as "09:30", "093000" or 93000."""
    if column.dtype == pl.Time:
        return True
    if column.dtype.is_integer():
        return bool(column.is_between(0, 235_959).all()) and not column.null_count()
    if column.dtype != pl.String or column.null_count():
        return False
    return bool(column.str.contains(r"^\s*(\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?(\s*[AaPp]\.?[Mm]\.?)?|\d{1,6})\s*$").all())


def clock_text(column: pl.Series) -> pl.Series:
    """Returns times of day as text that may follow a date."""
    if column.dtype == pl.Time:
        return column.cast(pl.String)
    text = column.cast(pl.String).str.strip_chars()
    bare = text.str.contains(r"^\d+$")
    if not bool(bare.any()):
        return text
    if column.name.strip("<> ").lower().startswith("hour"):
        return text.str.zfill(2) + ":00"
    # HHMM where no value needs more digits, HHMMSS else.
    width = 4 if bool((text.str.len_chars() <= 4).all()) and bool((text.cast(pl.Int64, strict=False) > 0).any()) else 6
    return text.str.zfill(width)


def _iso_ms(text: pl.Series, where: str) -> Times | None:
    """Moments in ISO text, by far the most usual, without a regular expression for each; None if one is not."""
    offset: pl.Series | int = 0
    if bool(text.str.ends_with("Z").all()):
        text = text.str.strip_suffix("Z")
    else:
        # Only what follows a date can be a zone: the "-12" of "2020-03-12" is not one.
        zone = text.str.slice(10).str.extract(r"(Z|z|UTC|GMT|[+-]\d\d(?::?\d\d)?)$", 1)
        iso = text.str.contains(r"^\d{4}[-/]\d\d[-/]\d\d")
        if 0 < zone.null_count() < len(zone) and bool(iso.all()):
            raise mixed_zones(where)
        if not zone.null_count():
            offset = _offset_ms(zone)
            text = text.str.replace(r"\s?(Z|z|UTC|GMT|[+-]\d\d(?::?\d\d)?)$", "")
    text = text.str.replace("T", " ", literal=True).str.replace_all("/", "-", literal=True)
    # chrono would take "01-02-24" for the year 1.
    if not bool(text.str.contains(r"^\d{4}-").fill_null(False).all()):
        return None
    parsed = pl.Series("time", [None] * len(text), dtype=pl.Datetime("ms"))
    for form in ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d"):
        if parsed.null_count():
            parsed = parsed.zip_with(parsed.is_not_null(), text.str.to_datetime(form, time_unit="ms", strict=False))
    if parsed.null_count():
        return None
    times: Times = (parsed.to_physical() - offset).to_numpy()
    return times


def _family(text: pl.Series, column: pl.Series, where: str) -> tuple[str, pl.DataFrame]:
    """Which way of writing a date fits every row, and its parts.

    Raises:
        SeriesError: none does; with the first row that the best one does not fit.
    """
    best, missed = "", len(text) + 1
    first = len(text)
    for family, date in _FAMILIES.items():
        pattern = date + _CLOCK + _ZONE
        fits = text.str.contains(pattern)
        misses = int((~fits).sum())
        if not misses:
            return family, text.str.extract_groups(pattern).struct.unnest()
        if misses < missed:
            best, missed, first = family, misses, int((~fits).arg_max() or 0)
    row = first if best and missed < len(text) else 0
    raise _not_a_moment(column[row], where, row)


def _readings(family: str, parts: pl.DataFrame, form: str | None) -> list[Reading]:
    """The readings that the parts of a date may have."""
    if family in ("ymd", "compact"):
        return [Reading("year-month-day", _dates(parts["y"], parts["a"], parts["b"]))]
    if family == "month":
        return [Reading("year-month", _dates(parts["y"], parts["a"], pl.Series(["1"] * len(parts))))]
    if family == "day name":
        return [Reading("day-month-year", _dates(parts["y"], _month(parts["b"]), parts["a"]))]
    if family == "name day":
        return [Reading("month-day-year", _dates(parts["y"], _month(parts["a"]), parts["b"]))]
    day_first = Reading("day-first", _dates(parts["y"], parts["b"], parts["a"]))
    month_first = Reading("month-first", _dates(parts["y"], parts["a"], parts["b"]))
    if form == "day-first":
        return [day_first]
    if form == "month-first":
        return [month_first]
    readings = [day_first, month_first]
    if bool((parts["y"].str.len_chars() == 2).all()):
        readings.append(Reading("year-first", _dates(parts["a"], parts["b"], parts["y"])))
    return readings


def _month(names: pl.Series) -> pl.Series:
    numbers = names.str.to_lowercase().replace_strict(_MONTHS, default=None, return_dtype=pl.Int64)
    return numbers.cast(pl.String)


def _dates(year: pl.Series, month: pl.Series, day: pl.Series) -> Times | None:
    """The midnights of dates in ms, or None if one does not exist; two digits are of 1970 to 2069."""
    y, m, d = (part.cast(pl.Int64, strict=False) for part in (year, month, day))
    y = y.zip_with(year.str.len_chars() > 2, y + pl.Series((y < 70).fill_null(False)).cast(pl.Int64) * 100 + 1900)
    made = pl.DataFrame({"y": y, "m": m, "d": d}).select(
        (
            pl.col("y").cast(pl.String).str.zfill(4)
            + "-"
            + pl.col("m").cast(pl.String).str.zfill(2)
            + "-"
            + pl.col("d").cast(pl.String).str.zfill(2)
        ).str.to_date("%Y-%m-%d", strict=False)
    )
    dates = made.to_series()
    return None if dates.null_count() else dates.cast(pl.Datetime("ms")).to_physical().to_numpy()


def _first_impossible(family: str, parts: pl.DataFrame) -> int:
    """The first row whose date does not exist in any order."""
    for row in range(len(parts)):
        if all(reading.times is None for reading in _readings(family, parts[row : row + 1], None)):
            return row
    return 0


def _clock_ms(parts: pl.DataFrame, text: pl.Series, where: str) -> Times:
    """The time of day less the zone's offset, ms; 0 where none stands."""

    def whole(name: str) -> pl.Series:
        return parts[name].cast(pl.Int64, strict=False).fill_null(0)

    hour = whole("h")
    half = parts["ap"].str.to_lowercase().str.replace_all(".", "", literal=True)
    bad = (hour > 24) | (whole("mi") > 59) | (whole("s") > 60) | (half.is_not_null() & ((hour > 12) | (hour < 1)))
    if bad.any():
        row = int(bad.arg_max() or 0)
        raise _not_a_moment(text[row], where, row)
    hour = hour.zip_with((half == "am").fill_null(False) & (hour == 12), hour) if half.null_count() == len(half) else (
        hour % 12 + (half == "pm").fill_null(False).cast(pl.Int64) * 12
    ).zip_with(half.is_not_null(), hour)  # fmt: skip
    fraction = parts["f"].fill_null("0").str.pad_end(3, "0").str.slice(0, 3).cast(pl.Int64)
    zone = parts["z"].set(parts["z"] == "", None)
    if 0 < zone.null_count() < len(zone):
        raise mixed_zones(where)
    offset = _offset_ms(zone) if not zone.null_count() else pl.Series([0] * len(zone))
    times: Times = (hour * 3_600_000 + whole("mi") * MINUTE_MS + whole("s") * 1000 + fraction - offset).to_numpy()
    return times


def _strptime(text: pl.Series, form: str, where: str) -> Times:
    """Moments by a format that a person gave."""
    form = form.replace("%f", "%3f") if "%.f" not in form and "%f" in form else form
    has_clock = any(code in form for code in ("%H", "%I", "%T", "%R", "%X", "%c", "%r"))
    try:
        if has_clock and not any(code in form for code in ("%M", "%T", "%R", "%X", "%c", "%r")):
            text, form = text + ":00", form + ":%M"
        parsed = text.str.to_datetime(form, time_unit="ms", strict=False) if has_clock else text.str.to_date(
            form, strict=False
        ).cast(pl.Datetime("ms"))  # fmt: skip
        if isinstance(parsed.dtype, pl.Datetime) and parsed.dtype.time_zone is not None:
            parsed = parsed.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise SeriesError(f"{form!r} is not a usable time format.", where=where, fix='Write "%m/%d/%Y".') from error
    if parsed.null_count():
        row = int(parsed.is_null().arg_max() or 0)
        what = f"{text[row]!r} does not have the format {form!r}."
        raise SeriesError(what, where=f"{where}, row {row + 1}", fix="Fix this row, or write another format.")
    times: Times = parsed.to_physical().to_numpy()
    return times


def _offset_ms(zone: pl.Series) -> pl.Series:
    """What a zone such as "+05:30" is ahead of UTC; 0 for "Z", "UTC" and "GMT"."""
    zone = zone.str.replace(r"^(?:UTC|GMT)", "")
    hours = zone.str.extract(r"^[+-](\d\d)", 1).cast(pl.Int64).fill_null(0)
    minutes = zone.str.extract(r"^[+-]\d\d:?(\d\d)$", 1).cast(pl.Int64).fill_null(0)
    return (hours * 60 + minutes) * MINUTE_MS * (1 - 2 * zone.str.starts_with("-").cast(pl.Int64))


def _in_order(times: Times) -> bool:
    """Whether moments rise throughout, or fall throughout."""
    steps = np.diff(times)
    return bool((steps > 0).all() or (steps < 0).all())


def mixed_zones(where: str) -> SeriesError:
    """Returns the error for times of which only some have a zone."""
    return SeriesError(
        "mixed time zones: some times have a zone and some have none.", where=where, fix="Write all of them in UTC."
    )


def _not_a_moment(text: str, where: str, row: int) -> SeriesError:
    if (match := re.search(_ZONE_NAME, text)) is not None and match[1] not in ("UTC", "GMT", "AM", "PM"):
        return SeriesError(
            f"{text!r} names the time zone {match[1]}, whose offset changes or is told in several ways.",
            where=f"{where}, row {row + 1}",
            fix="Write the times in UTC, or with their offset, such as -05:00.",
        )
    if re.fullmatch(r"\d(\.\d+)?[eE]\+\d+", text):
        return SeriesError(
            f"{text!r} is a rounded number, as spreadsheets show large ones; the times cannot be told from it.",
            where=f"{where}, row {row + 1}",
            fix="Write the integers in full: format the column as a number without decimals.",
        )
    return SeriesError(
        f"{text!r} is not a moment in time.",
        where=f"{where}, row {row + 1}",
        fix='Write ISO text such as "2020-03-12 10:35:00", or give --time-format.',
    )
