"""Delays of scheduled starts: a time of day runs out some time after it is stated, by a delay of its UTC day. Pure.

The delay of a day is fixed in the token's state by the first price of that day or of the next one that was attended
to. So another window, another secret or a restart moves no start of a day that has begun: each time runs out once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from gearing.core.record import DAY_MS

# A state's: a day (counted from 1970), the delay of the day before it, and that of the day itself.
Fixed = tuple[int, int, int]
DelayOf = Callable[[int], int]
# A start is never put off further than this, so that it falls on its own day or on the next.
WINDOW_MS_MAX = DAY_MS // 2


class Delays(NamedTuple):
    """The delays that count at an event: of its day, of the day before, and of those that the state had fixed."""

    days: tuple[tuple[int, int], ...] = ()

    def of(self, day: int) -> int:
        """Returns the delay of a day, ms; 0 where none is known."""
        return next((delay for known, delay in self.days if known == day), 0)

    @property
    def is_none(self) -> bool:
        """Whether every time runs out when it is stated."""
        return not any(delay for _, delay in self.days)


NO_DELAYS = Delays()


def known(fixed: Fixed | msgspec.UnsetType, attended_ms: int) -> tuple[tuple[int, int], ...]:
    """Returns the delays that a state has fixed, by day; where it has none, clocks ran out when they were stated."""
    if isinstance(fixed, msgspec.UnsetType):
        day = attended_ms // DAY_MS
        return (day - 1, 0), (day, 0)
    day, before, today = fixed
    return (day - 1, before), (day, today)


def at_event(
    fixed: Fixed | msgspec.UnsetType, attended_ms: int, drawn: tuple[int, int] | msgspec.UnsetType, now_ms: int
) -> Delays:
    """Returns the delays that count at an event.

    Args:
        fixed, attended_ms: of the state before it.
        drawn: for the day before the event's and for its own; unset: no delay.
        now_ms: of the event.
    """
    day = now_ms // DAY_MS
    before, today = (0, 0) if isinstance(drawn, msgspec.UnsetType) else drawn
    return Delays((*known(fixed, attended_ms), (day - 1, before), (day, today)))


def fixed_at(delays: Delays, now_ms: int) -> Fixed | msgspec.UnsetType:
    """Returns what a state keeps of the delays that counted at an event."""
    day = now_ms // DAY_MS
    before, today = delays.of(day - 1), delays.of(day)
    return (day, before, today) if before or today else msgspec.UNSET


def is_due(at_ms: int, after_ms: int, now_ms: int, delays: Delays) -> bool:
    """Returns whether a time of day ran out in (after, now].

    Args:
        at_ms: as it is stated, ms after 00:00 UTC.
        after_ms, now_ms: see there.
        delays: see `Delays`.
    """
    last = now_ms // DAY_MS
    first = max(after_ms // DAY_MS - 1, last - 3)  # of more days, every time ran out
    return any(after_ms < day * DAY_MS + at_ms + delays.of(day) <= now_ms for day in range(first, last + 1))


def next_start(
    at_ms: int, since_ms: int, fixed: Fixed | msgspec.UnsetType, attended_ms: int, delay_of: DelayOf
) -> int:  # fmt: skip
    """Returns when a time of day runs out next, after a time.

    Args:
        at_ms: as it is stated, ms after 00:00 UTC.
        since_ms: the time.
        fixed, attended_ms: of the state.
        delay_of: the delay of a day that the state has not fixed.
    """
    kept, today = dict(known(fixed, attended_ms)), since_ms // DAY_MS
    starts = (
        day * DAY_MS + at_ms + (kept[day] if day in kept else delay_of(day)) for day in range(today - 1, today + 3)
    )
    return min(start for start in starts if start > since_ms)
