"""The calendar: every bar at which a clock wakes a token, computed once per series and schedule.

A scheduled time, a settlement and a day's end take effect at the first price known at or after them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from gearing.core.record import DAY_MS
from gearing.jit import compiled
from gearing.kernels.pyramid import PRICES, PYRAMID, Floats, Pyramid, extremes

Ints = NDArray[np.int64]

# The bit of `due` that marks a bar as the last one of its day; lower bits are the schedules.
DAY_END = 62
_MINUTE_MS = 60_000
_STAMP_SLACK_MS = 1_000


class Calendar(NamedTuple):
    """Wake-up bars in rising order; the last row is a sentinel at n, the end of the series.

    Args:
        bars: bar numbers, shape (k,).
        due: bit mask per bar: schedules that fall due, and DAY_END.
        dues: columns: sum of funding rates, day-ends passed, lowest and highest price strictly between
            the bar before and this one; shape (k, 4).
        opens_day: whether a day begins with the first bar.
    """

    bars: Ints
    due: Ints
    dues: Floats
    opens_day: bool


CALENDAR = numba.typeof(Calendar(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 4)), True))


@compiled(
    numba.void(
        PRICES, PRICES, PYRAMID, numba.types.Array(numba.int64, 1, "C"), numba.types.Array(numba.float64, 2, "C")
    )
)
def fill_extremes(low: Floats, high: Floats, blocks: Pyramid, bars: Ints, dues: Floats) -> None:
    """Writes the extreme prices strictly between wake-up bars into the last two columns of `dues`."""
    before = 0
    for k in range(bars.shape[0]):
        lowest, highest = extremes(low, high, blocks, before + 1, bars[k])
        dues[k, 2] = lowest
        dues[k, 3] = highest
        before = bars[k]


@compiled(numba.boolean(CALENDAR, numba.int64))
def day_ends_from(calendar: Calendar, k: int) -> bool:
    """Returns whether a day ends on row k of a calendar or later."""
    for row in range(k, calendar.due.shape[0]):
        if (calendar.due[row] >> DAY_END) & 1 == 1:
            return True
    return False


def daily_instants(start_ms: int, end_ms: int, time_of_day_ms: int) -> Ints:
    """Returns the instants of one time of day in (start, end]."""
    first = (start_ms - time_of_day_ms) // DAY_MS + 1
    last = (end_ms - time_of_day_ms) // DAY_MS
    return np.arange(first, last + 1, dtype=np.int64) * DAY_MS + time_of_day_ms


def bars_at(times_ms: Ints, spacing_ms: int, instants: Ints) -> Ints:
    """Returns the first bar known at or after each instant, n where there is none.

    On regular times the bar follows from the spacing; it is checked, and searched for where it is not so.
    """
    n = len(times_ms)
    if spacing_ms > 0:
        guess = np.clip(-((int(times_ms[0]) - instants) // spacing_ms), 0, n)
        held = (guess == n) | (times_ms[np.minimum(guess, n - 1)] >= instants)
        earlier = (guess == 0) | (times_ms[np.maximum(guess - 1, 0)] < instants)
        if np.all(held & earlier):
            return guess
    return np.searchsorted(times_ms, instants, side="left").astype(np.int64)


def distinct(rising: Ints) -> Ints:
    """Returns rising numbers without repetitions; far quicker here than a general search for them."""
    return rising[np.append(True, rising[1:] != rising[:-1])] if len(rising) else rising


def day_end_bars(times_ms: Ints, spacing_ms: int) -> Ints:
    """Returns the last bar known at or before each day's end (00:00 UTC); every bar of daily data.

    Complete days only: the first entry is where the first complete day begins.
    """
    if spacing_ms >= DAY_MS // 2:
        return np.arange(len(times_ms), dtype=np.int64)
    midnights = daily_instants(int(times_ms[0]) - 1, int(times_ms[-1]), 0)
    return distinct(bars_at(times_ms, spacing_ms, midnights + 1) - 1)


def settlement_bars(
    times_ms: Ints, spacing_ms: int, funding_times_ms: Ints, funding_rates: Floats
) -> tuple[Ints, Floats]:
    """Returns the bars that settlements fall on, and their rates; those outside the series are left out."""
    past_minute = funding_times_ms % _MINUTE_MS
    instants = funding_times_ms - np.where(past_minute <= _STAMP_SLACK_MS, past_minute, 0)
    bars = bars_at(times_ms, spacing_ms, instants)
    kept = (bars > 0) & (bars < len(times_ms))
    return bars[kept], funding_rates[kept]


class Clocks(NamedTuple):
    """The bars on which days end and schedules fall due.

    Args:
        day_bars: the first bar known at or after each 00:00 UTC.
        sample_bars: the last bar known by then.
        schedules: the bars of each schedule.
    """

    day_bars: Ints
    sample_bars: Ints
    schedules: list[Ints]

    def wake_bars(self, n: int, *others: Ints) -> Ints:
        """Returns all wake-up bars in rising order, others among them, with the sentinel n."""
        every = [*others, self.day_bars, self.sample_bars, *self.schedules, np.array([n])]
        bars = distinct(np.sort(np.concatenate(every)))
        return bars[bars > 0]

    def due_on(self, bars: Ints) -> Ints:
        """Returns the bit mask of what falls due on each wake-up bar."""
        due = np.zeros(len(bars), np.int64)
        for k, at in enumerate(self.schedules):
            due[np.searchsorted(bars, at)] |= 1 << k
        due[np.searchsorted(bars, self.sample_bars[self.sample_bars > 0])] |= 1 << DAY_END
        return due

    def days_on(self, bars: Ints) -> Floats:
        """Returns how many days end on each wake-up bar."""
        days = np.zeros(len(bars))
        np.add.at(days, np.searchsorted(bars, self.day_bars), 1.0)
        return days

    @property
    def opens_day(self) -> bool:
        """Whether a day begins with the first bar."""
        return bool(len(self.sample_bars) and self.sample_bars[0] == 0)


def clocks_of(times_ms: Ints, spacing_ms: int, schedules: Sequence[Sequence[int]]) -> Clocks:
    """Returns the clocks of a price series.

    Args:
        times_ms: when each price was known, shape (n,), rising.
        spacing_ms: the most common distance of two bars.
        schedules: for each schedule its times of day in ms after 00:00 UTC.
    """
    start, end = int(times_ms[0]), int(times_ms[-1])

    def bars_of(time_of_day_ms: int) -> Ints:
        return bars_at(times_ms, spacing_ms, daily_instants(start, end, time_of_day_ms))

    none = np.empty(0, np.int64)
    due = [distinct(np.sort(np.concatenate([bars_of(at) for at in times]))) if times else none for times in schedules]
    return Clocks(bars_of(0), day_end_bars(times_ms, spacing_ms), due)


def build_calendar(
    times_ms: Ints,
    spacing_ms: int,
    close: Floats,
    blocks: Pyramid,
    funding_times_ms: Ints,
    funding_rates: Floats,
    schedules: Sequence[Sequence[int]],
) -> Calendar:
    """Returns the calendar of a price series.

    Args:
        times_ms: when each price was known, shape (n,), rising.
        spacing_ms: the most common distance of two bars.
        close: prices, shape (n,).
        blocks: their pyramid.
        funding_times_ms: settlement times, shape (m,); those at or before the first price are ignored.
        funding_rates: fraction per settlement, shape (m,).
        schedules: for each schedule its times of day in ms after 00:00 UTC.
    """
    settled, rates = settlement_bars(times_ms, spacing_ms, funding_times_ms, funding_rates)
    clocks = clocks_of(times_ms, spacing_ms, schedules)
    bars = clocks.wake_bars(len(times_ms), settled)
    dues = np.zeros((len(bars), 4))
    np.add.at(dues[:, 0], np.searchsorted(bars, settled), rates)
    dues[:, 1] = clocks.days_on(bars)
    fill_extremes(close, close, blocks, bars, dues)
    return Calendar(bars, clocks.due_on(bars), dues, clocks.opens_day)
