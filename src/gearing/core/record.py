"""Frozen records that check themselves, and the small words (rates, durations, times) they are made of."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import lru_cache
from numbers import Real
from typing import Any

import msgspec

from gearing.errors import Problem, SpecError
from gearing.numerals import number_of

DAY_MS = 86_400_000

_UNIT_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": DAY_MS, "w": 7 * DAY_MS}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)\s*", re.ASCII)
_TIME_OF_DAY = re.compile(r"([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?(Z|[+-](?:0\d|1[0-4]):[0-5]\d)?", re.ASCII)


class Presenter:
    """How things show themselves to people; the package face sets it, so that lower rooms draw nothing."""

    figure: Callable[..., Any] | None = None
    html: Callable[[Any], str] | None = None
    headline: Callable[[Any], str] | None = None


class Shown:
    """What anything has that people look at: a figure and a small table for notebooks."""

    def plot(self) -> Any:
        """Returns a Plotly figure of this."""
        return shown_figure(self)

    def _repr_html_(self) -> str:
        return Presenter.html(self) if Presenter.html else f"<pre>{self!r}</pre>"


def shown_figure(thing: object, *choices: str) -> Any:
    """Returns a Plotly figure of a thing, drawn by whatever room the package face named for that."""
    if Presenter.figure is None:
        raise SpecError([Problem(type(thing).__name__, "no drawing room", "`import gearing` first")])
    return Presenter.figure(thing, *choices)


class Record(msgspec.Struct, Shown, frozen=True, kw_only=True):
    """A frozen, keyword-only record. Subclasses check their fields in `__post_init__`."""


def rate(value: object) -> float:
    """Returns a rate given as a number (0.0003) or as text ("0.03%", "3bp").

    Raises:
        ValueError: the text is neither a number, a percentage nor basis points.
    """
    if isinstance(value, bool):
        raise ValueError(value)
    if isinstance(value, Real):
        return float(value)
    if not isinstance(value, str):
        raise ValueError(value)
    text = value.strip().replace("−", "-")
    for unit, scale in (("%", 1e-2), ("bps", 1e-4), ("bp", 1e-4)):
        if text.endswith(unit):
            # Decimal scaling through the text keeps "0.03%" equal to the literal 0.0003.
            mantissa = text.removesuffix(unit).strip()
            number_of(mantissa)
            return float(f"{mantissa}e{round(math.log10(scale))}")
    return number_of(text)


@lru_cache(maxsize=256)
def duration_ms(text: str) -> int:
    """Returns the milliseconds of a duration such as "24h", "30m", "1d" or "500ms".

    Raises:
        ValueError: the text is no positive duration.
    """
    match = _DURATION.fullmatch(text)
    if not match:
        raise ValueError(text)
    length = float(match[1]) * _UNIT_MS[match[2]]
    if length < 1 or length != int(length):
        raise ValueError(text)
    return int(length)


def time_of_day_ms(text: str) -> int:
    """Returns milliseconds after 00:00 UTC of a time such as "00:02", "23:30:15" or "00:00+08:00".

    Raises:
        ValueError: the text is no time of day.
    """
    match = _TIME_OF_DAY.fullmatch(text.strip())
    if not match:
        raise ValueError(text)
    seconds = int(match[1]) * 3600 + int(match[2]) * 60 + int(match[3] or 0)
    zone = match[4]
    if zone and zone != "Z":
        offset = int(zone[1:3]) * 3600 + int(zone[4:6]) * 60
        seconds -= offset if zone[0] == "+" else -offset
    return seconds % 86_400 * 1_000


class Check:
    """Collects what is wrong with a record, and brings rates given as text into floats."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.problems: list[Problem] = []

    def add(self, place: str, found: object, expected: str, fix: str = "") -> None:
        """Notes one mistake."""
        self.problems.append(Problem(place, repr(found), expected, fix))

    def that(self, holds: bool, place: str, expected: str, fix: str = "") -> None:
        """Notes a mistake in field `place` unless `holds`."""
        if not holds:
            self.add(place, getattr(self.record, place), expected, fix)

    def number(
        self,
        place: str,
        low: float = -math.inf,
        high: float = math.inf,
        *,
        strict: bool = False,
        optional: bool = False,
    ) -> None:
        """A finite number (or a rate as text) within [low, high]; `strict` leaves `low` itself out."""
        value = getattr(self.record, place)
        if value is None and optional:
            return
        edge = f"{'above' if strict else 'at least'} {low:g}" if low > -math.inf else ""
        top = f"at most {high:g}" if high < math.inf else ""
        expected = "a number " + " and ".join(part for part in (edge, top) if part)
        try:
            parsed = rate(value)
        except (ValueError, OverflowError):
            self.add(place, value, expected.strip(), 'Write a plain number such as 0.0003, or a rate such as "0.03%".')
            return
        if not math.isfinite(parsed) or parsed > high or parsed < low or (strict and parsed == low):
            self.add(place, value, expected.strip())
        msgspec.structs.force_setattr(self.record, place, parsed)

    def text(self, place: str, *, empty: bool = True) -> None:
        """A text, not empty unless allowed."""
        value = getattr(self.record, place)
        if not isinstance(value, str) or not (empty or value.strip()):
            self.add(place, value, "a text" if empty else "a text that is not empty")

    def choice(self, place: str, choices: tuple[str, ...]) -> None:
        """One of a few words."""
        value = getattr(self.record, place)
        if value not in choices:
            self.add(place, value, "one of " + ", ".join(f'"{choice}"' for choice in choices))

    def duration(self, place: str, *, most: str = "", optional: bool = True) -> None:
        """A duration as text, such as "24h"; `most`: the longest."""
        value = getattr(self.record, place)
        if value is None and optional:
            return
        try:
            if duration_ms(value) > (duration_ms(most) if most else math.inf):
                self.add(place, value, f"a duration of at most {most}")
        except (ValueError, TypeError, OverflowError):
            self.add(place, value, "a duration", 'Write a number and a unit: "500ms", "30s", "10m", "24h", "1d".')

    def sequence(self, place: str, kind: type, name: str) -> None:
        """A list or tuple of records of one kind (stored as a tuple)."""
        value = getattr(self.record, place)
        if (
            isinstance(value, str)
            or not isinstance(value, (list, tuple))
            or not all(isinstance(item, kind) for item in value)
        ):
            self.add(place, value, f"a list of {name}")
            return
        msgspec.structs.force_setattr(self.record, place, tuple(value))

    def done(self) -> None:
        """Raises SpecError if anything was wrong."""
        if self.problems:
            raise SpecError(self.problems)
