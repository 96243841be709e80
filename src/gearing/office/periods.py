"""Periods of the calendar in a time zone: a year, a month or a day, half-open."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from gearing.errors import InputError

_FORM = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Period(NamedTuple):
    """A period of the calendar.

    Args:
        text: as it was given: "2026", "2026-03" or "2026-03-14".
        zone: the time zone's name, in which its midnights are.
        start_ms, end_ms: [start, end), ms UTC.
    """

    text: str
    zone: str
    start_ms: int
    end_ms: int


def period_of(text: str, zone: str = "UTC") -> Period:
    """Returns the period that a person named.

    Args:
        text: a year, a month or a day: "2026", "2026-03", "2026-03-14".
        zone: a time zone of the IANA database, such as "Europe/Berlin".

    Raises:
        InputError: it is no period, or there is no such zone.
    """
    found = _FORM.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        year, month, day = (int(part) if part else 1 for part in found.groups())
        first = date(year, month, day)
        if not 1971 <= year <= 9_998:
            raise ValueError
    except ValueError:
        raise InputError(f"{text!r} is no period.", where="--period",
                         fix="Write a year, a month or a day: 2026, 2026-03 or 2026-03-14.") from None  # fmt: skip
    if found[3]:
        after = date.fromordinal(first.toordinal() + 1)
    elif found[2]:
        after = date(year + month // 12, month % 12 + 1, 1)
    else:
        after = date(year + 1, 1, 1)
    known = zone_of(zone)
    return Period(text, zone, _midnight_ms(first, known), _midnight_ms(after, known))


def zone_of(name: str) -> ZoneInfo:
    """Returns a time zone by its name.

    Raises:
        InputError: there is none of this name.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise InputError(f"there is no time zone {name!r}.", where="--tz",
                         fix="Use a name of the IANA database, such as UTC or Europe/Berlin.") from None  # fmt: skip


def moment_text(time_ms: int, zone: str) -> str:
    """Returns a moment in a zone, such as "2026-03-01T00:00:00.000+01:00"."""
    seconds, rest = divmod(time_ms, 1000)
    at = datetime.fromtimestamp(seconds, zone_of(zone)).replace(microsecond=rest * 1000)
    return at.isoformat(timespec="milliseconds")


def _midnight_ms(day: date, zone: ZoneInfo) -> int:
    """Returns the beginning of a day; where the clock jumps over midnight, the moment of the jump."""
    at = datetime(day.year, day.month, day.day, tzinfo=zone)
    return round((at.astimezone(UTC) - _EPOCH).total_seconds() * 1000)
